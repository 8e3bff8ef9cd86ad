// What is suspicious of an annotator, in words. The rule is the server's (labelling/server/results.py).

import { make, percent } from "../common/dom.js";

const BRIEF = {
  "one-side": ({ side }) => `nearly always ${side}`,
  hasty: () => "too quick to have looked",
  unsteady: () => "contradicts themselves",
};
const WHY = {
  "one-side": ({ side, count, n }) =>
    `preferred the clip on the ${side} in ${count} of ${n} answers. Sides are drawn at random, so whoever looks at the clips comes to about half`,
  hasty: ({ count, n }) => `took less than half a second for ${count} of ${n} labels, in which nobody sees two clips`,
  unsteady: ({ count, n }) => `said the same again of only ${count} of the ${n} pairs that they were shown twice`,
};

/** Marks beside an annotator's name; what they mean stands in `doubtList`. */
export function marks({ doubts }) {
  return doubts.map((doubt) =>
    make("span", { class: "doubt", title: sentence(doubt) }, make("span", { "aria-hidden": "true" }, "⚠ "), BRIEF[doubt.kind](doubt)),
  );
}

/** Why annotators are marked, and by which rule. */
export function doubtList(annotators) {
  const doubted = annotators.filter(({ doubts }) => doubts.length);
  const items = doubted.flatMap(({ annotator, doubts }) =>
    doubts.map((doubt) => make("li", {}, make("b", {}, annotator), ` ${sentence(doubt)}`)),
  );
  return [
    items.length ? make("ul", { class: "doubts", "aria-label": "Annotators to look at" }, items) : null,
    make(
      "details",
      { class: "rule" },
      make("summary", {}, items.length ? "When somebody is marked" : "Nobody is marked as suspicious. When somebody would be"),
      make(
        "p",
        {},
        "Where the 95% interval of a share leaves no doubt, so that a few labels say nothing: one side was preferred in more " +
          "than three of four answers (as 12 of 12, or 38 of 43); more than half of the labels took less than half a second (as 4 " +
          "of 4, or 32 of 50); fewer than three of four repeats were answered as before (as 4 of 10, or 12 of 22). A mark is a " +
          "reason to ask or to look, and no proof: their labels count as before.",
      ),
    ),
  ];
}

function sentence(doubt) {
  return `${WHY[doubt.kind](doubt)} (${percent(doubt.count / doubt.n)}; 95% interval ${percent(doubt.low)} to ${percent(doubt.high)}).`;
}
