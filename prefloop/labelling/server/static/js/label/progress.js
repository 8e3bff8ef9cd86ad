// How far the run is, and how long this annotator needs for the rest.

import { attempt, getRun, repeat } from "../common/api.js";
import { make, setText } from "../common/dom.js";
import { outbox } from "./outbox.js";
import { tab } from "../common/storage.js";

const LONGEST = 120; // seconds that one label counts for: whoever has a coffee is not slower
const REFRESH = 5000;
const ENOUGH = 3; // labels that tell a pace
const LONG = 90; // minutes from which on hours are told

/** How long `remaining` pairs take somebody who has needed `seconds` for `labels`; empty where that is not known. */
function timeLeft(remaining, labels, seconds) {
  if (labels < ENOUGH || !seconds || !remaining) return "";
  const minutes = (remaining * seconds) / labels / 60;
  if (minutes < 1) return "less than a minute left";
  if (minutes < LONG) return `about ${Math.round(minutes)} min left`;
  return `about ${Math.round(minutes / 60)} h left`;
}

/** Tells "round" when everything is asked again. */
export class Progress extends EventTarget {
  #run;
  #round;
  #key;
  #counts;
  #own; // labels of this session, and the seconds that they took
  #since = 0; // labels that the counts do not hold yet
  #turn = 0; // counts refreshes
  #nodes = {};
  #soon = null;

  constructor(run, annotator, signal) {
    super();
    this.#run = run.name;
    this.#round = run.round;
    this.#counts = run.counts;
    this.#key = `labelled.${run.name}.${annotator}`;
    this.#own = tab.read(this.#key, { labels: 0, seconds: 0 });
    const number = (name) => (this.#nodes[name] = make("b", { "data-count": name }));
    this.#nodes.bar = make("progress", { "aria-label": "Pairs of this run that are done" });
    this.node = make(
      "div",
      { class: "progress" },
      this.#nodes.bar,
      make(
        "p",
        {},
        make("span", {}, number("done"), " done"),
        make("span", {}, number("left"), " left"),
        make("span", {}, number("session"), " this session"),
        (this.#nodes.time = make("span", { class: "time-left" })),
      ),
    );
    repeat(() => this.#refresh(), REFRESH, signal);
    outbox.addEventListener("stored", () => this.refreshSoon(), { signal });
    signal.addEventListener("abort", () => clearTimeout(this.#soon));
    this.#show();
  }

  /** Whether nobody has asked anything yet. */
  get isEmpty() {
    return this.#counts.queries === 0;
  }

  /** Counts a label, or takes one back. */
  count(labels, seconds) {
    this.#since += labels;
    this.#own.labels = Math.max(this.#own.labels + labels, 0);
    this.#own.seconds += Math.min(seconds, LONGEST);
    if (!this.#own.labels) this.#own.seconds = 0;
    tab.write(this.#key, this.#own);
    this.#show();
  }

  refreshSoon() {
    clearTimeout(this.#soon);
    this.#soon = setTimeout(() => document.hidden || attempt(() => this.#refresh()), 300);
  }

  async #refresh() {
    if (outbox.waiting().length) return;
    const turn = ++this.#turn;
    const since = this.#since;
    const run = await getRun(this.#run);
    if (turn !== this.#turn) return; // a later one knows more
    this.#counts = run.counts;
    this.#since -= since;
    this.#show();
    if (run.round === this.#round) return;
    this.#round = run.round;
    this.dispatchEvent(new Event("round"));
  }

  #show() {
    const { queries, left } = this.#counts;
    // a query that wants several annotators is not done with one of them
    const remaining = Math.min(Math.max(left - this.#since, 0), queries);
    const { labels, seconds } = this.#own;
    setText(this.#nodes.done, String(queries - remaining));
    setText(this.#nodes.left, String(remaining));
    setText(this.#nodes.session, String(labels));
    setText(this.#nodes.time, timeLeft(remaining, labels, seconds));
    this.#nodes.bar.max = Math.max(queries, 1);
    this.#nodes.bar.value = queries - remaining;
  }
}
