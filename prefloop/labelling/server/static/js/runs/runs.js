// The list of runs: how far each is, and one click to label it.

import { listRuns, persist, repeat } from "../common/api.js";
import { count, make, setText } from "../common/dom.js";

const REFRESH = 3000;

export async function showRuns(view, signal) {
  const list = make("ul", { class: "run-list" });
  const empty = make(
    "div",
    { class: "empty", hidden: true },
    make("h2", {}, "There is nothing to label yet"),
    make("p", {}, "A collector fills the queue; this page shows it by itself:"),
    make("pre", {}, make("code", {}, "prefloop collect --name cartpole-01 --env CartPole-v1 --pairs 50")),
  );
  const cards = new Map();
  const update = (runs) => {
    empty.hidden = runs.length > 0;
    const names = new Set(runs.map((run) => run.name));
    for (const [name, card] of cards) {
      if (names.has(name)) continue;
      card.node.remove();
      cards.delete(name);
    }
    runs.forEach((run, i) => {
      if (!cards.has(run.name)) cards.set(run.name, makeCard(run));
      const card = cards.get(run.name);
      // moved only where it must be, so that the focus stays
      if (list.children[i] !== card.node) list.insertBefore(card.node, list.children[i] ?? null);
      card.update(run);
    });
  };
  update(await persist(listRuns, signal));
  if (signal.aborted) return;
  view.replaceChildren(make("h1", { tabindex: "-1" }, "Runs"), list, empty);
  const refresh = async () => {
    const runs = await listRuns();
    if (!signal.aborted) update(runs);
  };
  repeat(refresh, REFRESH, signal);
}

function makeCard(run) {
  const path = encodeURIComponent(run.name);
  const label = make("a", { class: "button primary", href: `#/label/${path}` });
  const bar = make("progress", { "aria-label": `Pairs of ${run.name} that are done` });
  const done = make("span", {});
  const left = make("span", { class: "left-count" });
  const people = make("span", { class: "faint" });
  const instructions = make("p", { class: "excerpt" });
  const node = make(
    "li",
    { class: "card run", "data-run": run.name },
    make(
      "div",
      { class: "run-head" },
      make("h2", {}, make("a", { href: `#/label/${path}` }, run.name)),
      make("span", { class: "tag" }, run.env),
      make("time", { class: "faint", datetime: run.created_at }, madeOn(run.created_at)),
    ),
    instructions,
    bar,
    make("p", { class: "run-counts" }, done, left, people),
    make(
      "div",
      { class: "run-buttons" },
      label,
      make("a", { class: "button", href: `#/results/${path}`, "aria-label": `Results of ${run.name}` }, "Results"),
    ),
  );
  const update = ({ instructions: text, counts }) => {
    setText(instructions, text);
    instructions.hidden = !text;
    bar.max = Math.max(counts.queries, 1);
    bar.value = counts.queries - counts.left;
    setText(done, `${counts.queries - counts.left} of ${count(counts.queries, "pair")} done`);
    setText(left, counts.left ? `${counts.left} left` : counts.queries ? "finished" : "no pairs yet");
    setText(people, counts.labels ? `${count(counts.labels, "label")} by ${count(counts.annotators, "annotator")}` : "");
    setText(label, counts.left || !counts.queries ? (counts.labels ? "Go on labelling" : "Start labelling") : "Open");
    label.setAttribute("aria-label", `${label.textContent} ${run.name}`);
    node.classList.toggle("finished", counts.queries > 0 && counts.left === 0);
  };
  return { node, update };
}

function madeOn(time) {
  return new Date(time).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}
