// What is suspicious of an annotator, in words. The rule is the server's (labelling/server/doubts.py).

import { make, percent } from "../common/dom.js";

const BRIEF = {
  "one-side": ({ side }) => `nearly always ${side}`,
  hasty: () => "too quick to have looked",
  unsteady: () => "contradicts themselves",
  apart: () => "as if by chance",
};
const WHY = {
  "one-side": ({ side, count, n }) =>
    `preferred the clip on the ${side} in ${count} of ${n} answers. Sides are drawn at random, so whoever looks at the clips comes to about half`,
  hasty: ({ count, n }) => `took less than half a second for ${count} of ${n} labels, in which nobody sees two clips`,
  unsteady: ({ count, n }) => `said the same again of only ${count} of the ${n} pairs that they were shown twice`,
  apart: ({ count, n, usual }) =>
    `said what is clear of only ${count} of ${n} pairs of which the others are of one mind, or whose answer is known. Who guesses comes to about half, ` +
    `the median of the annotators to ${percent(usual)}`,
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
          "of 4, or 32 of 50); fewer than three of four repeats were answered as before (as 0 of 4, or 9 of 22: here the interval is that of " +
          "99.9%, since repeats are few, and of close pairs people change their minds). And where the answers to clear pairs are a hundred times likelier of " +
          "one who guesses than of one who comes to what half of the annotators come to (as 25 of 40 where that is 85%). A pair is clear " +
          "where its answer is known, or where at least two others have answered it and three of four of them alike. A mark is a reason to ask or to look, and " +
          "no proof: their labels count as before.",
      ),
    ),
  ];
}

function sentence(doubt) {
  return `${WHY[doubt.kind](doubt)} (${percent(doubt.count / doubt.n)}; ${doubt.kind === "unsteady" ? "99.9%" : "95%"} interval ${percent(doubt.low)} to ${percent(doubt.high)}).`;
}
