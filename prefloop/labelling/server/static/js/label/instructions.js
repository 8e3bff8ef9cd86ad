// What annotators are to look for, as whoever made the run wrote it.

import { make } from "../common/dom.js";
import { browser } from "../common/storage.js";

const ONE_LINE = 120; // characters that take no room worth folding away

/** Instructions: a sentence stays in sight, more can be folded away; null if a run has none. */
export function instructions(run) {
  const text = run.instructions.trim();
  if (!text) return null;
  if (text.length <= ONE_LINE && !text.includes("\n")) {
    return make("p", { class: "instructions goal" }, make("b", {}, "What to look for: "), text);
  }
  const key = `read.${run.name}`;
  const details = make(
    "details",
    { class: "instructions", open: browser.read(key) !== text },
    make("summary", {}, "What to look for"),
    make("p", {}, text),
  );
  // closed once, it stays closed until there is something new to read
  details.addEventListener("toggle", () => {
    if (details.open) browser.remove(key);
    else browser.write(key, text);
  });
  return details;
}
