// What the sections of the results are made of.

import { make } from "../common/dom.js";

export function section(title, ...content) {
  return make("section", { class: "card" }, make("h2", {}, title), ...content);
}

/** Which colour is what: [kind, text] each. */
export function legend(entries) {
  return make("p", { class: "legend" }, entries.map(([kind, text]) => make("span", {}, make("i", { class: `part ${kind}` }), text)));
}

/** A table whose rows begin with what they are about; it scrolls where it is too wide, and shows that it does. */
export function table(caption, heads, rows) {
  const cell = (value, i) => make(i ? "td" : "th", i ? {} : { scope: "row" }, value);
  const node = make(
    "div",
    { class: "table", tabindex: "0", role: "region", "aria-label": caption },
    make(
      "table",
      {},
      make("thead", {}, make("tr", {}, heads.map((head) => make("th", { scope: "col" }, head)))),
      make("tbody", {}, rows.map((row) => make("tr", {}, row.map(cell)))),
    ),
  );
  hintAtMore(node);
  return make("div", {}, node, make("p", { class: "table-more", "aria-hidden": "true" }, "More to the side: scroll ↔"));
}

/** Says in `data-more` at which ends something is out of sight. */
function hintAtMore(node) {
  const look = () => {
    const ends = { left: node.scrollLeft > 1, right: node.scrollLeft + node.clientWidth < node.scrollWidth - 1 };
    node.dataset.more = Object.keys(ends).filter((end) => ends[end]).join(" ");
  };
  node.addEventListener("scroll", look, { passive: true });
  new ResizeObserver(look).observe(node); // which also tells of the beginning
}
