// The results of a run: how much was labelled, by whom, how fast, and how alike.

import { attempt, exclude, forget, getDataOf, getRanking, getResults, getRun, health, listComparisons, repeat } from "../common/api.js";
import { bars, labelsOverTime, lineLegend, ranges } from "./charts.js";
import { askToForget } from "../common/confirm.js";
import { count, make, percent } from "../common/dom.js";
import { doubtList, marks } from "./doubts.js";
import { HardPairs } from "./hardest.js";
import { mistakeLine, orSay } from "../common/mistake.js";
import { picturesOf } from "../common/observed.js";
import { legend, section, table } from "./parts.js";
import { blind, rankingCard } from "./ranking.js";
import { foundOrShown } from "../common/refusal.js";
import { trustCard } from "./trust.js";

const REFRESH = 5000;

export async function showResults(view, signal, name) {
  let isTrainer = null; // whoever only votes is not to know whom
  const load = async () => {
    const [run, results] = await Promise.all([getRun(name), getResults(name)]);
    isTrainer ??= (await health()).role === "trainer";
    return { run, results, ranking: run.arena && isTrainer ? await getRanking(name) : null };
  };
  const body = make("div", { class: "results" });
  const hardPairs = new HardPairs(signal);
  const mistake = mistakeLine();
  const leaveOut = async (annotator, out) => {
    await orSay(mistake, () => exclude(name, annotator, out));
    await attempt(refresh);
  };
  const erase = (annotator) => orSay(mistake, async () => askToForget(annotator, await getDataOf(annotator), forget, () => attempt(refresh)));
  const update = upToDate(body, ({ run, results, ranking }) => sections(run, results, ranking, hardPairs, isTrainer ? { leaveOut, erase, mistake } : null));
  const show = (found) => {
    update(found);
    hardPairs.update(found.results.reward?.hardest ?? []);
  };
  const found = await foundOrShown(view, name, load, signal);
  if (!found) return;
  show(found);
  const comparisons = make("a", { class: "button", hidden: true }, "Side by side");
  attempt(async () => {
    // a run's folder has its name, and so has what `prefloop show` shows of it
    const newest = (await listComparisons()).find(({ runs }) => runs.includes(name));
    if (!newest) return;
    comparisons.href = `#/comparisons/${newest.id}`;
    comparisons.title = `The newest comparison: ${newest.runs.join(", ")}`;
    comparisons.hidden = false;
  });
  view.replaceChildren(
    make(
      "div",
      { class: "page-head" },
      make("h1", { tabindex: "-1" }, "Results of ", name, " ", make("small", {}, found.run.env)),
      make(
        "div",
        { class: "page-links" },
        comparisons,
        make("a", { class: "button", href: `#/settings/${encodeURIComponent(name)}`, "aria-label": `Settings of ${name}` }, "Settings"),
        make("a", { class: "button primary", href: `#/label/${encodeURIComponent(name)}` }, "Label"),
      ),
    ),
    body,
  );
  const refresh = async () => {
    const later = await load();
    if (!signal.aborted) show(later);
  };
  repeat(refresh, REFRESH, signal);
}

const FOCUSABLE = "a, button, [tabindex]";

/** A function that brings the parts of a node up to date: [key, what it is about, how it is built] each. */
function upToDate(body, parts) {
  const kept = new Map(); // what has not changed stays as it is, with the focus and what plays in it
  return (found) => {
    const now = parts(found);
    const keys = new Set(now.map(([key]) => key));
    for (const [key, { node }] of kept) {
      if (keys.has(key)) continue;
      node.remove();
      kept.delete(key);
    }
    now.forEach(([key, about, build], i) => {
      const text = JSON.stringify(about);
      const old = kept.get(key);
      if (old?.text === text) return;
      const focused = old ? [...old.node.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement) : -1;
      const node = build();
      kept.set(key, { text, node });
      if (old) old.node.replaceWith(node);
      else body.insertBefore(node, body.children[i] ?? null);
      if (focused >= 0) node.querySelectorAll(FOCUSABLE)[focused]?.focus();
    });
  };
}

function sections(run, results, ranking, hardPairs, acts) {
  const { counts } = run;
  if (!counts.labels) {
    const nothing = () =>
      make("div", { class: "empty" }, make("h2", {}, "No labels yet"), make("p", {}, "The first one shows here by itself."));
    return [["empty", null, nothing]];
  }
  const { annotators, agreement, alpha, consistency, curves, over_time: points, pairs, reward, seconds } = results;
  const parts = [
    ["facts", [counts, annotators, agreement, alpha, consistency, seconds], () => facts(counts, results)],
    ...(run.arena ? [["ranking", ranking, () => (ranking ? rankingCard(ranking) : blind())]] : []),
    ["time", [points, curves], () => {
      const width = Math.min(window.innerWidth - 64, 1040);
      return section("Labels over time", labelsOverTime(points, width, curves), curves.length ? lineLegend(curves) : null);
    }],
    ["labels", annotators, () => section("Labels per annotator", ...labelBars(annotators))],
    ["seconds", [annotators, seconds], () => section("Seconds per label", ...secondRanges(annotators, seconds))],
    ["annotators", annotators, () => annotatorSection(annotators, acts)],
  ];
  if (pairs.length) parts.push(["pairs", pairs, () => section("Agreement between annotators", pairTable(pairs))]);
  if (reward?.trust) parts.push(["trust", reward.trust, () => trustCard(reward.trust, run.name)]);
  // clips that come later are put into what stands there already
  if (reward) parts.push(["reward", withoutClips(reward), () => section("Reward model", ...hardPairs.show(reward, picturesOf(run.spaces)))]);
  return parts;
}

function withoutClips(reward) {
  return JSON.stringify({ ...reward, trust: null }, (key, value) => (key.startsWith("clip_") ? undefined : value));
}

function facts(counts, { annotators, agreement, alpha, consistency, seconds: took }) {
  const sum = (key) => annotators.reduce((total, one) => total + one[key], 0);
  const all = sum("answers") + sum("skips");
  const repeats = all - counts.labels;
  const most = took.n > 1 ? `; 80% between ${took.low.toFixed(1)} and ${took.high.toFixed(1)}` : "";
  return make(
    "dl",
    { class: "facts" },
    fact("Labels", all.toLocaleString("en"), `${repeats ? `${count(repeats, "repeat")}; ` : ""}${count(counts.left, "pair")} left of ${counts.queries}`),
    fact("Seconds per label", seconds(took.median), `median${most}`),
    fact("Annotators agree", percent(agreement.share), basis(agreement, "pair of labels", "pairs of labels", "needs two annotators on the same pair")),
    fact("Krippendorff's alpha", alpha.value === null ? "–" : alpha.value.toFixed(2), beyondChance(alpha)),
    fact("Consistency", percent(consistency.share), basis(consistency, "repeat", "repeats", "needs pairs that are shown twice")),
    fact("Ties", percent(share(sum("ties"), sum("answers"))), "of the answers"),
    fact("Skipped", percent(share(sum("skips"), all)), "of the labels"),
  );
}

function labelBars(annotators) {
  const rows = annotators.map((one) => ({
    name: one.annotator,
    parts: [
      { kind: "answer", value: one.answers - one.ties },
      { kind: "tie", value: one.ties },
      { kind: "skip", value: one.skips },
    ],
    text: String(one.answers + one.skips),
  }));
  return [bars(rows, "Labels per annotator"), legend([["answer", "one is better"], ["tie", "equal"], ["skip", "skipped"]])];
}

function secondRanges(annotators, all) {
  const row = (name, took) => ({ name, ...took, text: seconds(took.median) });
  const rows = annotators.map((one) => row(one.annotator, one.seconds));
  if (rows.length > 1) rows.push(row("together", all));
  return [ranges(rows, "Seconds per label: median"), legend([["spread", "10% to 90%"], ["median", "median"]])];
}

function fact(name, value, note) {
  return make("div", { class: "card fact" }, make("dt", {}, name), make("dd", {}, value), make("dd", { class: "faint" }, note));
}

function basis({ n }, one, many, none) {
  return n ? `of ${count(n, one, many)}` : none;
}

function beyondChance({ n, value }) {
  if (!n) return "needs two annotators on the same pair";
  const of = `of ${count(n, "answer")}`;
  return value === null ? `${of} that all say the same: undefined` : `${of}; 1: all agree, 0: as by chance`;
}

const share = (part, whole) => (whole ? part / whole : null);
const seconds = (value) => (value === null ? "–" : `${value.toFixed(1)} s`);
const quantiles = ({ n, low, median, high }) => (n ? [low, median, high].map((value) => value.toFixed(1)).join(" / ") : "–");

function annotatorSection(annotators, acts) {
  const [list, rule] = doubtList(annotators);
  return section("Annotators", ...(list ? [list] : []), annotatorTable(annotators, acts), acts?.mistake ?? null, rule);
}

/** `acts` are what a trainer may do: `leaveOut(annotator, out)` and `erase(annotator)`; null where it is not theirs to do. */
function annotatorTable(annotators, acts) {
  return table(
    "Annotators",
    ["Name", "Answers", "Ties", "Skips", "Chose left", "Seconds (10 / 50 / 90%)", "With themselves", ...(acts ? ["In training", "Data"] : [])],
    annotators.map((one) => [
      [one.annotator, ...marks(one)],
      String(one.answers),
      String(one.ties),
      String(one.skips),
      percent(one.chose_left),
      quantiles(one.seconds),
      one.consistency.n ? `${percent(one.consistency.share)} of ${one.consistency.n}` : "–",
      ...(acts ? [leaveOutButton(one, acts.leaveOut), eraseButton(one, acts.erase)] : []),
    ]),
  );
}

function leaveOutButton({ annotator, excluded }, leaveOut) {
  const text = excluded ? "Take in" : "Leave out";
  const label = `${text}: the labels of ${annotator}`;
  return make("button", { type: "button", class: "plain", "aria-label": label, onclick: () => leaveOut(annotator, !excluded) }, text);
}

function eraseButton({ annotator }, erase) {
  const label = `Delete all that is stored of ${annotator}`;
  return make("button", { type: "button", class: "plain", "aria-label": label, onclick: () => erase(annotator) }, "Delete …");
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
