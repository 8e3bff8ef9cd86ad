// The list of runs: which need labels, how far each is, and one click to label it.

import { health, listRuns, persist, repeat } from "../common/api.js";
import { count, make, setText } from "../common/dom.js";
import { isTaken } from "../common/keys.js";
import { say } from "../common/say.js";
import { inBrief } from "../common/phase.js";
import { Manage } from "./manage.js";

const REFRESH = 3000;

export async function showRuns(view, signal) {
  const [found, { role }] = await persist(() => Promise.all([listRuns(), health()]), signal);
  if (!signal.aborted) new RunsPage(view, found, role === "trainer", signal);
}

class RunsPage {
  #view;
  #signal;
  #runs = [];
  #cards = new Map();
  #manage; // null where it is not theirs to change
  #turn = 0; // counts looks: what an earlier one finds is stale
  #list = make("ul", { class: "run-list" });
  #archived = make("ul", { class: "run-list" });
  #archive = make("details", { class: "archive" });
  #archiveTitle = make("summary", {});
  #search = make("input", {
    type: "search", class: "run-search", placeholder: "Search name, environment, instructions", autocomplete: "off",
    spellcheck: "false", "aria-label": "Search the runs", "aria-keyshortcuts": "/",
  });
  #none = make("p", { class: "none-fits", hidden: true });
  #empty = make(
    "div",
    { class: "empty", hidden: true },
    make("h2", {}, "There is nothing to label yet"),
    make("p", {}, "A collector fills the queue; this page shows it by itself:"),
    make("pre", {}, make("code", {}, "prefloop collect --name cartpole-01 --env CartPole-v1 --pairs 50")),
  );

  constructor(view, runs, isTrainer, signal) {
    this.#view = view;
    this.#signal = signal;
    this.#manage = isTrainer ? new Manage((name) => this.#changed(name), signal) : null;
    this.#archive.append(this.#archiveTitle, this.#archived);
    this.#update(runs);
    view.replaceChildren(
      make("div", { class: "page-head" }, make("h1", { tabindex: "-1" }, "Runs"), this.#search),
      this.#list,
      this.#none,
      this.#archive,
      this.#empty,
    );
    this.#search.addEventListener("input", () => this.#searched());
    window.addEventListener("keydown", (event) => this.#pressed(event), { signal });
    repeat(() => this.#refresh(), REFRESH, signal);
  }

  async #refresh() {
    const turn = ++this.#turn;
    const runs = await listRuns();
    if (!this.#signal.aborted && turn === this.#turn) this.#update(runs);
  }

  /** A run was changed here; the focus goes to what is now the run of this name. */
  async #changed(name) {
    await this.#refresh();
    const card = this.#cards.get(name);
    (card && !card.node.closest("details:not([open])") ? card.manage : this.#view.querySelector("h1"))?.focus();
  }

  #pressed(event) {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || isTaken(event.target, "/")) return;
    if (this.#search.hidden || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    this.#search.focus();
  }

  #searched() {
    this.#update(this.#runs);
    const fits = this.#runs.filter((run) => this.#fits(run)).length;
    say(`${count(fits, "run")} of ${this.#runs.length}.`);
  }

  /** Whether every word that is searched for stands somewhere in what a run says of itself. */
  #fits({ name, env, instructions }) {
    const text = `${name}\n${env}\n${instructions}`.toLowerCase();
    return this.#search.value.toLowerCase().split(/\s+/).every((word) => text.includes(word));
  }

  #update(runs) {
    this.#runs = runs;
    const names = new Set(runs.map((run) => run.name));
    for (const [name, card] of this.#cards) {
      if (names.has(name)) continue;
      card.node.remove();
      this.#cards.delete(name);
    }
    const fitting = runs.filter((run) => this.#fits(run));
    const archived = fitting.filter((run) => run.archived);
    const live = fitting.filter((run) => !run.archived).sort((one, other) => urgency(one) - urgency(other));
    for (const { name } of runs.filter((run) => !this.#fits(run))) this.#cards.get(name)?.node.remove();
    this.#place(this.#list, live);
    this.#place(this.#archived, archived);
    this.#archive.hidden = !archived.length;
    setText(this.#archiveTitle, `Archived: ${count(archived.length, "run")}`);
    this.#empty.hidden = runs.some((run) => !run.archived);
    this.#search.hidden = !runs.length;
    this.#none.hidden = !runs.length || fitting.length > 0;
    setText(this.#none, `No run has “${this.#search.value.trim()}” in its name, environment or instructions.`);
  }

  #place(list, runs) {
    runs.forEach((run, i) => {
      if (!this.#cards.has(run.name)) this.#cards.set(run.name, makeCard(run, this.#manage));
      const card = this.#cards.get(run.name);
      // moved only where it must be, so that the focus stays
      if (list.children[i] !== card.node) list.insertBefore(card.node, list.children[i] ?? null);
      card.update(run);
    });
  }
}

/** 0: it needs labels; 1: it waits for pairs; 2: it is done. */
function urgency({ counts, training }) {
  if (counts.left) return 0;
  return training !== null || !counts.queries ? 1 : 2;
}

function makeCard(run, manage) {
  const path = encodeURIComponent(run.name);
  let current = run;
  const title = make("a", {}, run.name);
  const label = make("a", { class: "button primary", href: `#/label/${path}` });
  const bar = make("progress", { "aria-label": `Pairs of ${run.name} that are done` });
  const done = make("span", {});
  const left = make("span", { class: "left-count" });
  const people = make("span", { class: "faint" });
  const training = make("span", { class: "trains" });
  const instructions = make("p", { class: "excerpt" });
  const change = manage
    ? make("button", { type: "button", "aria-label": `Manage ${run.name}`, onclick: () => manage.open(current) }, "Manage")
    : null;
  const node = make(
    "li",
    { class: "card run", "data-run": run.name },
    make(
      "div",
      { class: "run-head" },
      make("h2", {}, title),
      make("span", { class: "tag" }, run.env),
      training,
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
      change,
    ),
  );
  const update = (now) => {
    current = now;
    const { instructions: text, counts, archived, training: trains } = now;
    title.setAttribute("href", `#/${archived ? "results" : "label"}/${path}`);
    setText(instructions, text);
    instructions.hidden = !text;
    training.hidden = trains === null;
    setText(training, trains === null ? "" : inBrief(trains));
    bar.max = Math.max(counts.queries, 1);
    bar.value = counts.queries - counts.left;
    setText(done, `${counts.queries - counts.left} of ${count(counts.queries, "pair")} done`);
    setText(left, leftText(now));
    setText(people, counts.labels ? `${count(counts.labels, "label")} by ${count(counts.annotators, "annotator")}` : "");
    setText(label, counts.left || !counts.queries ? (counts.labels ? "Go on labelling" : "Start labelling") : "Open");
    label.setAttribute("aria-label", `${label.textContent} ${run.name}`);
    label.hidden = archived;
    node.classList.toggle("finished", counts.queries > 0 && counts.left === 0);
  };
  return { node, update, manage: change };
}

function leftText({ counts, training }) {
  if (counts.left) return `${counts.left} left`;
  if (!counts.queries) return "no pairs yet";
  return training === null ? "finished" : "waits for pairs";
}

function madeOn(time) {
  return new Date(time).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}
