// Light or dark: as the system is, or as chosen here.

import { browser } from "./storage.js";

const NAMES = { auto: ["◐", "as the system"], light: ["☀", "light"], dark: ["☾", "dark"] };
const ORDER = ["auto", "light", "dark"];
const MEDIA = { auto: "(prefers-color-scheme: dark)", light: "not all", dark: "all" }; // of the dark colours
const button = document.getElementById("theme-button");

function show(theme) {
  document.getElementById("dark").media = MEDIA[theme];
  const [icon, name] = NAMES[theme];
  button.textContent = icon;
  button.setAttribute("aria-label", `Colours: ${name}; change`);
  button.title = `Colours: ${name}`;
}

export function startTheme() {
  const kept = browser.read("theme");
  let theme = ORDER.includes(kept) ? kept : "auto";
  show(theme);
  button.addEventListener("click", () => {
    theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
    browser.write("theme", theme);
    show(theme);
  });
}
