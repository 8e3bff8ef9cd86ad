// What the sections of the results are made of.

import { make } from "../common/dom.js";

export function section(title, ...content) {
  return make("section", { class: "card" }, make("h2", {}, title), ...content);
}

/** Which colour is what: [kind, text] each. */
export function legend(entries) {
  return make("p", { class: "legend" }, entries.map(([kind, text]) => make("span", {}, make("i", { class: `part ${kind}` }), text)));
}

/** A table whose rows begin with what they are about; it scrolls where it is too wide. */
export function table(caption, heads, rows) {
  const cell = (value, i) => make(i ? "td" : "th", i ? {} : { scope: "row" }, value);
  return make(
    "div",
    { class: "table", tabindex: "0", role: "region", "aria-label": caption },
    make(
      "table",
      {},
      make("thead", {}, make("tr", {}, heads.map((head) => make("th", { scope: "col" }, head)))),
      make("tbody", {}, rows.map((row) => make("tr", {}, row.map(cell)))),
    ),
  );
}
