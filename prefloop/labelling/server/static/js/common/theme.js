// Light or dark: as the system is, or as chosen here.

import { browser } from "./storage.js";
import { inWords, word } from "./words.js";

const NAMES = { auto: ["◐", "themeAuto"], light: ["☀", "themeLight"], dark: ["☾", "themeDark"] };
const ORDER = ["auto", "light", "dark"];
const MEDIA = { auto: "(prefers-color-scheme: dark)", light: "not all", dark: "all" }; // of the dark colours
const button = document.getElementById("theme-button");

function show(theme) {
  document.getElementById("dark").media = MEDIA[theme];
  const [icon, name] = NAMES[theme];
  button.textContent = icon;
  button.setAttribute("aria-label", word("themeChange", { theme: word(name) }));
  button.title = word("theme", { theme: word(name) });
}

export function startTheme() {
  const kept = browser.read("theme");
  let theme = ORDER.includes(kept) ? kept : "auto";
  inWords(() => show(theme));
  button.addEventListener("click", () => {
    theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
    browser.write("theme", theme);
    show(theme);
  });
}
