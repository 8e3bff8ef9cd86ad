// The page's own words: in the language of the study that somebody takes part in, in English for everybody else. Each
// language is a file in words/, which is found by its name.

import english from "../words/en.js";

let words = english;
let language = "en";
const changes = new EventTarget();

/** Words by their name; `values` stand in place of what is in braces, and `n` of them says which form is meant. */
export function word(name, values = {}) {
  const found = words[name] ?? english[name];
  const text = typeof found === "string" ? found : (found[new Intl.PluralRules(words.locale).select(values.n)] ?? found.other);
  return text.replace(/\{(\w+)\}/g, (whole, key) => (key in values ? shown(values[key]) : whole));
}

/** A number as people write it. */
export function numberText(number) {
  return number.toLocaleString(words.locale);
}

function shown(value) {
  return typeof value === "number" ? numberText(value) : value;
}

/** A time as people write it: with its day, to the minute. */
export function timeText(time) {
  return new Date(time).toLocaleString(words.locale, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
}

/** What a refusal says: the server's sentence in English, in another language ours for the reason that it names. */
export function refusalText(status, sentence, reason) {
  if (language === "en") return sentence;
  const name = `refused-${reason}`;
  return word(name in words ? name : "refused", { status: String(status) });
}

/** Speaks a language from now on; one that there are no words in is left as it is. */
export async function speak(wanted) {
  if (wanted === language) return;
  try {
    words = (await import(`../words/${wanted}.js`)).default;
  } catch {
    return;
  }
  language = wanted;
  document.documentElement.lang = wanted;
  changes.dispatchEvent(new Event("change"));
}

/** Of languages that there are words in, the one that this browser's user likes best; English where they read none. */
export function preferred(known) {
  const fits = (wanted) => known.find((one) => one === wanted) ?? known.find((one) => one === wanted.split("-")[0]);
  return navigator.languages.map(fits).find((one) => one) ?? "en";
}

/** Does what says words that stay on the page: now, and when it speaks another language. */
export function inWords(render) {
  render();
  changes.addEventListener("change", render);
}
