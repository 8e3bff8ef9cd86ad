// How far a learned reward can be trusted: what its trainer computed of the answers, in words.

import { bars } from "./charts.js";
import { legend, section, table } from "./parts.js";
import { count, draw, make, percent } from "../common/dom.js";

const SHOWN_INPUTS = 8;
const SIDE = 180; // pixels of the picture of a calibration
const EDGE = 22;

export function trustCard(trust, name) {
  const { by_annotator: people, over_time: stretches } = trust;
  return section(
    "How far to trust the reward",
    make(
      "div",
      { class: "trust" },
      ...inWords(trust),
      make("div", { class: "trust-parts" }, calibration(trust), figures(trust), inputs(trust)),
      ...groups("By who answered", "Annotator", people, (row) => row.name),
      ...groups("Over time, by when the pairs were asked about", "Iteration", stretches, ({ first, last }) => (first === last ? String(first) : `${first} to ${last}`)),
      make("p", { class: "faint whole" }, "All of it as one page that opens from disk, with the hardest pairs step by step, beside the folder of the training: ", make("code", {}, `prefloop reward-report ${name}`), " (or what --out named in place of it)"),
    ),
  );
}

function inWords(trust) {
  const { controls, held_out_accuracy: accuracy, held_out_accuracy_low: low, held_out_accuracy_high: high, training_accuracy: learned } = trust;
  const decided = trust.held_out_answers - trust.held_out_ties;
  const ofLearned = learned === null ? "" : `, and ${percent(learned)} of those that it has learned from`;
  const said = [
    accuracy === null
      ? make("p", {}, make("b", {}, trust.held_out_answers ? "All answers that were kept back are ties" : "No answer is kept back yet"), `, so nothing says how it does on new ones.${learned === null ? "" : ` It explains ${percent(learned)} of those that it has learned from.`}`)
      : make("p", {}, "It predicts ", make("b", { class: "big" }, percent(accuracy)), ` of ${count(decided, "answer")} that it has not learned from (95% interval ${percent(low)} to ${percent(high)})${ofLearned}. A coin comes to half.`),
  ];
  if (controls.constant === null) return said;
  const own = accuracy === null ? "" : `; this one, as it is, ${percent(accuracy)}`;
  said.push(
    make(
      "p",
      {},
      `Of the same answers a constant reward, for which longer is better, would explain ${percent(controls.constant)}; this one turned round ${percent(controls.flipped)}; ` +
        `networks that were shown no answer ${percent(controls.untrained_mean)}, the luckiest of them ${percent(controls.untrained_highest)}${own}.`,
    ),
  );
  const best = Math.max(controls.constant, controls.flipped, controls.untrained_highest);
  if (accuracy !== null && low <= best) {
    said.push(make("p", { class: "not-shown" }, "So these answers do not show that it knows more than a reward that learned nothing. More answers may."));
  }
  return said;
}

/** Dots of what was predicted against what was answered; on the line it is as sure as it is right. */
function calibration({ calibration: bins, calibration_error: error, calibration_error_by_chance_95: floor }) {
  if (!bins.length || error === null) return null;
  const total = bins.reduce((sum, bin) => sum + bin.answers, 0);
  const x = (share) => EDGE + share * (SIDE - 2 * EDGE);
  const y = (share) => SIDE - x(share);
  const verdict = error > floor ? "More than chance makes of it: it is surer, or less sure, than it is right." : "No more than chance makes of so few answers.";
  const picture = draw("svg", {
    class: "calibration", viewBox: `0 ${EDGE - 13} ${SIDE} ${SIDE - EDGE + 13}`, role: "img",
    "aria-label": bins.map((bin) => `predicted ${percent(bin.predicted)}, answered ${percent(bin.observed)} of ${bin.answers}`).join("; "),
  });
  picture.append(
    draw("rect", { class: "frame", x: x(0), y: y(1), width: x(1) - x(0), height: y(0) - y(1) }),
    draw("line", { class: "grid", x1: x(0), x2: x(1), y1: y(0), y2: y(1) }),
    ...bins.map((bin) => draw("circle", { class: "dot", cx: x(bin.predicted).toFixed(1), cy: y(bin.observed).toFixed(1), r: (3 + 9 * Math.sqrt(bin.answers / total)).toFixed(1) }, draw("title", {}, `${percent(bin.predicted)} predicted, ${percent(bin.observed)} of ${count(bin.answers, "answer")}`))),
    draw("text", { class: "tick", x: SIDE / 2, y: SIDE - 6, "text-anchor": "middle" }, "predicted"),
    draw("text", { class: "tick", x: -SIDE / 2, y: 14, "text-anchor": "middle", transform: "rotate(-90)" }, "answered"),
  );
  return make(
    "div",
    {},
    make("h3", {}, "As sure as it is right?"),
    picture,
    make("p", { class: "faint" }, `How often the second clip was preferred, by how likely the reward thought that; the larger a dot, the more answers. They lie ${error.toFixed(2)} beside the line on average; of a reward that is right it would be up to ${floor.toFixed(2)}, because answers are few. ${verdict}`),
  );
}

function figures({ rank_correlation: rank, disagreement }) {
  const entry = (name, value, note) => [make("dt", {}, name), make("dd", {}, value === null ? "–" : value.toFixed(2)), make("dd", { class: "faint" }, note)];
  return make(
    "dl",
    { class: "trust-figures" },
    ...entry("Rank correlation", rank, rank === null ? "with the environment's own reward, which is not known" : "with the environment's own reward, over all clips that were compared; 1: the same order. What you teach may be something else"),
    ...entry("Disagreement", disagreement, "of the members of the ensemble about these answers; near 0 more pairs of this kind teach little"),
  );
}

function inputs({ inputs: all, inputs_left: left }) {
  if (!all.length) return null;
  const shown = all.slice(0, SHOWN_INPUTS);
  const more = all.length - shown.length + left;
  const rows = shown.map((row) => {
    const [kind, arrow] = direction(row);
    return { name: row.name, parts: [{ kind, value: row.size }], text: `${arrow} ${row.size.toFixed(2)}` };
  });
  return make(
    "div",
    { class: "trust-inputs" },
    make("h3", {}, "What it looks at"),
    bars(rows, "How much the reward changes with each number that it is computed from"),
    legend([["answer", "↑ more is better"], ["tie", "↓ less is better"], ["spread", "↕ it depends"]]),
    make("p", { class: "faint" }, `How much the reward changes with each number, when that changes by as much as it usually does.${more ? ` ${count(more, "more changes it less", "more change it less")}.` : ""}`),
  );
}

function direction({ slope, size }) {
  if (Math.abs(slope) < 0.5 * size) return ["spread", "↕"];
  return slope > 0 ? ["answer", "↑"] : ["tie", "↓"];
}

/** A table of accuracies; nothing where there is one group alone, of which all else speaks. */
function groups(heading, head, rows, name) {
  if (rows.length < 2) return [];
  return [
    make("h3", {}, heading),
    table(
      heading,
      [head, "Answers", "It explains", "Not learned from", "Of these it predicts"],
      rows.map((row) => [
        name(row),
        String(row.answers),
        percent(row.accuracy),
        String(row.held_out_answers - row.held_out_ties),
        row.held_out_accuracy === null ? "–" : `${percent(row.held_out_accuracy)} (${percent(row.low)} to ${percent(row.high)})`,
      ]),
    ),
  ];
}
