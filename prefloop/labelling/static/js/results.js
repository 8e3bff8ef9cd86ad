// The results of a run: how much was labelled, by whom, how fast, and how alike.

import { getResults, getRun, persist, Refused, Unreachable } from "./api.js";
import { bars, labelsOverTime } from "./charts.js";
import { count, make, percent } from "./dom.js";

const REFRESH = 5000;

export async function showResults(view, signal, name) {
  const load = async () => {
    const [run, results] = await Promise.all([getRun(name), getResults(name)]);
    return { run, results };
  };
  let shown = "";
  const show = ({ run, results }) => {
    const now = JSON.stringify([run.counts, results]);
    if (now === shown) return;
    shown = now;
    body.replaceChildren(...sections(run, results));
  };
  const body = make("div", { class: "results" });
  let found;
  try {
    found = await persist(load, signal);
  } catch (error) {
    if (signal.aborted || !(error instanceof Refused)) throw error;
    view.replaceChildren(
      make("h1", { tabindex: "-1" }, name),
      make("p", { class: "empty" }, error.message, " ", make("a", { href: "#/" }, "All runs")),
    );
    return;
  }
  if (signal.aborted) return;
  show(found);
  view.replaceChildren(
    make(
      "div",
      { class: "page-head" },
      make("h1", { tabindex: "-1" }, "Results of ", name, " ", make("small", {}, found.run.env)),
      make("a", { class: "button primary", href: `#/label/${encodeURIComponent(name)}` }, "Label"),
    ),
    body,
  );
  const timer = setInterval(async () => {
    if (document.hidden) return;
    try {
      const later = await load();
      if (!signal.aborted) show(later);
    } catch (error) {
      if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
    }
  }, REFRESH);
  signal.addEventListener("abort", () => clearInterval(timer));
}

function sections(run, results) {
  const { counts } = run;
  if (!counts.labels) {
    return [make("div", { class: "empty" }, make("h2", {}, "No labels yet"), make("p", {}, "The first one shows here by itself."))];
  }
  const { annotators, agreement, consistency } = results;
  const sum = (key) => annotators.reduce((total, one) => total + one[key], 0);
  const all = sum("answers") + sum("skips");
  const repeats = all - counts.labels;
  return [
    make(
      "dl",
      { class: "facts" },
      fact("Labels", all.toLocaleString("en"), `${repeats ? `${count(repeats, "repeat")}; ` : ""}${count(counts.left, "pair")} left of ${counts.queries}`),
      fact("Seconds per label", seconds(results.median_seconds), "median"),
      fact("Annotators agree", percent(agreement.share), basis(agreement, "pair of labels", "pairs of labels", "needs two annotators on the same pair")),
      fact("Consistency", percent(consistency.share), basis(consistency, "repeat", "repeats", "needs pairs that are shown twice")),
      fact("Ties", percent(share(sum("ties"), sum("answers"))), "of the answers"),
      fact("Skipped", percent(share(sum("skips"), all)), "of the labels"),
    ),
    section("Labels over time", results.over_time.length ? labelsOverTime(results.over_time, Math.min(window.innerWidth - 64, 1040)) : null),
    section(
      "Labels per annotator",
      bars(
        annotators.map((one) => ({
          name: one.annotator,
          parts: [
            { kind: "answer", value: one.answers - one.ties },
            { kind: "tie", value: one.ties },
            { kind: "skip", value: one.skips },
          ],
          text: String(one.answers + one.skips),
        })),
        "Labels per annotator",
      ),
      legend([["answer", "one is better"], ["tie", "equal"], ["skip", "skipped"]]),
    ),
    section(
      "Seconds per label",
      bars(
        annotators.map((one) => ({
          name: one.annotator,
          parts: [{ kind: "answer", value: one.median_seconds ?? 0 }],
          text: seconds(one.median_seconds),
        })),
        "Median seconds per label",
      ),
    ),
    section("Annotators", annotatorTable(annotators)),
    results.pairs.length ? section("Agreement between annotators", pairTable(results.pairs)) : null,
    results.reward ? section("Reward model", ...rewardReport(results.reward)) : null,
  ].filter((part) => part !== null);
}

function section(title, ...content) {
  return make("section", { class: "card" }, make("h2", {}, title), ...content);
}

function fact(name, value, note) {
  return make("div", { class: "card fact" }, make("dt", {}, name), make("dd", {}, value), make("dd", { class: "faint" }, note));
}

function basis({ n }, one, many, none) {
  return n ? `of ${count(n, one, many)}` : none;
}

const share = (part, whole) => (whole ? part / whole : null);
const seconds = (value) => (value === null ? "–" : `${value.toFixed(1)} s`);

function legend(entries) {
  return make("p", { class: "legend" }, entries.map(([kind, text]) => make("span", {}, make("i", { class: `part ${kind}` }), text)));
}

function table(caption, heads, rows) {
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

function annotatorTable(annotators) {
  return table(
    "Annotators",
    ["Name", "Answers", "Ties", "Skips", "Chose left", "Seconds", "With themselves"],
    annotators.map((one) => [
      one.annotator,
      String(one.answers),
      String(one.ties),
      String(one.skips),
      percent(one.chose_left),
      seconds(one.median_seconds),
      one.consistency.n ? `${percent(one.consistency.share)} of ${one.consistency.n}` : "–",
    ]),
  );
}

function pairTable(pairs) {
  return table(
    "Agreement between annotators",
    ["Annotators", "Same pairs", "Agree", "Cohen's kappa"],
    pairs.map(({ annotators: [one, other], n, share: alike, kappa }) => [
      `${one} and ${other}`,
      String(n),
      percent(alike),
      kappa === null ? "–" : kappa.toFixed(2),
    ]),
  );
}

function rewardReport({ accuracy, labels, hardest }) {
  const said = (label) => (label === 0.5 ? "equal" : label > 0.5 ? "second" : "first");
  return [
    make("p", {}, make("b", {}, percent(accuracy)), ` of ${count(labels, "label")} agree with the reward model.`),
    hardest.length
      ? table(
          "Pairs that the reward model finds hardest",
          ["Hardest pairs", "People say", "Model: second is better"],
          hardest.map(({ query, label, probability }) => [query.slice(0, 8), said(label), percent(probability)]),
        )
      : null,
  ];
}
