// One of the pairs that a reward model finds hardest: two small clips, and who says what of them.

import { attempt, Refused } from "../common/api.js";
import { loadClip } from "../common/clips.js";
import { framesText } from "../common/controls.js";
import { count, make, percent, setText } from "../common/dom.js";
import { ObservedFrames } from "../common/observed.js";
import { Axes, TraceClip } from "../common/plots.js";
import { RewardTrace, rewardRanges } from "../common/rewardtrace.js";
import { VideoClip } from "../common/video.js";

const SIDES = { first: "left", second: "right" }; // whose colour each has
const TITLES = { first: "First", second: "Second" };
const WORDS = new Map([[0, "first"], [0.5, "equal"], [1, "second"], [null, "can't tell"]]);

/** What people said of a pair, an entry a label. */
function peopleSay(said) {
  if (!said.length) return make("p", { class: "faint" }, "No label of it stands any more.");
  const entry = ({ annotator, label, trim, repeat }) => {
    const part = trim ? ` (${framesText(trim.start, trim.stop)})` : "";
    const word = WORDS.get(label) ?? `second in ${percent(label)}`; // an import may hold any probability
    return make("li", {}, `${annotator}${repeat ? ", again" : ""}: `, make("b", {}, word), part);
  };
  return make("ul", { class: "said", "aria-label": "People say" }, said.map(entry));
}

/** The model's probability that the second is better, in words, beside what people said. */
function modelSays(probability, said) {
  const sure = Math.max(probability, 1 - probability);
  if (percent(sure) === "50%") return "The model can't tell them apart.";
  const side = probability > 0.5 ? "second" : "first";
  const chosen = new Set(said.map(({ label }) => label).filter((label) => label === 0 || label === 1));
  const howSure = sure > 0.995 ? "more than 99%" : percent(sure);
  if (chosen.size !== 1) return `The model is ${howSure} sure of the ${side}.`;
  const agrees = chosen.has(side === "second" ? 1 : 0);
  return `The model is ${howSure} sure of ${agrees ? "the same" : "the other"}: the ${side}.`;
}

/** A side's clip; a plot of it while the server has no video. */
class Screen {
  node = make("div", { class: "screen" });
  clip = null;
  #side;
  #label;
  #axes;
  #signal;
  #loading = null;

  constructor(side, label, axes, signal) {
    this.#side = side;
    this.#label = label;
    this.#axes = axes;
    this.#signal = signal;
  }

  /** Puts the clip on the screen, or why there is none. */
  load() {
    this.#loading ??= this.#load();
    return this.#loading;
  }

  /** What the server says of the side now; if that is a video at last, calls `done` when it is shown. */
  update(side, done) {
    const isNew = side.clip_url !== null && side.clip_url !== this.#side.clip_url;
    this.#side = side;
    if (!isNew || !this.#loading) return;
    this.#loading = this.#loading.then(async () => {
      if (this.clip instanceof VideoClip) return;
      await this.#load();
      done();
    });
  }

  async #load() {
    if (!this.clip) setText(this.node, "Loading …");
    try {
      const clip = await this.#ready();
      this.node.replaceChildren(clip.node);
      this.clip = clip;
    } catch (error) {
      if (!this.clip && !this.#signal.aborted) setText(this.node, error.message);
    }
  }

  async #ready() {
    try {
      return await loadClip(this.#side, this.#label, this.#axes, this.#signal);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
    }
    const plot = new TraceClip(this.#side, this.#label, this.#axes);
    await plot.ready;
    return plot;
  }
}

export class HardPair {
  node;
  #screens;
  #button;
  #text = make("span", {}, "Play");
  #number;
  #rewards;
  #observed; // what the agent sees of each side; empty where it sees no pictures
  #isObserved = false;
  #isInSight = false;
  #hard;
  #signal;

  /** `number` is its place among the others; `pictures` as `picturesOf` says; `on` what is to be done: `press`, `enter`, `leave`, `go` to a step. */
  constructor(hard, number, pictures, on, signal) {
    this.#number = number;
    this.#hard = hard;
    this.#signal = signal;
    const axes = new Axes(Object.keys(SIDES).map((side) => hard[side]), signal);
    this.#screens = Object.keys(SIDES).map((side) => new Screen(hard[side], `${side} clip of pair ${number}`, axes, signal));
    this.#button = make("button", { type: "button", class: "plain", onclick: on.press }, this.#text);
    this.#rewards = this.#traces(hard, on.go);
    const frames = (side) => new ObservedFrames(pictures, `What the agent sees in the ${side} clip of pair ${number}`);
    this.#observed = pictures ? Object.keys(SIDES).map(frames) : [];
    const figures = Object.entries(SIDES).map(([side, colour], i) =>
      make(
        "figure",
        { class: `clip ${colour}`, "data-segment": hard[side].segment },
        this.#screens[i].node,
        make("figcaption", {}, make("span", {}, TITLES[side]), make("span", { class: "steps" }, count(hard[side].length, "step"))),
        this.#observed[i]?.node,
        this.#rewards[i]?.node,
      ),
    );
    this.node = make(
      "li",
      { class: "hard-pair", "data-query": hard.query },
      make("div", { class: "clips", onpointerenter: on.enter, onpointerleave: on.leave }, figures),
      make(
        "div",
        { class: "verdict" },
        make("div", {}, peopleSay(hard.said), make("p", { class: "model" }, modelSays(hard.probability, hard.said))),
        this.#button,
      ),
    );
    this.mark(false);
  }

  #traces(hard, go) {
    const traces = Object.keys(SIDES).map((side) => hard[`${side}_reward`]);
    if (traces.includes(null)) return []; // of a long segment, or by a trainer of an earlier version
    const ranges = rewardRanges(traces);
    return Object.keys(SIDES).map((side, i) =>
      new RewardTrace(traces[i], ranges, `Reward of each step of the ${side} clip of pair ${this.#number}`, go));
  }

  /** Puts the cursors of both rewards on a step, and shows what the agent sees there. */
  show(step) {
    for (const shown of [...this.#rewards, ...this.#observed]) shown.show(step);
  }

  /** Shows what the agent sees under each clip, or no longer. */
  observe(isOpen) {
    this.#isObserved = isOpen;
    for (const { node } of this.#observed) node.hidden = !isOpen;
    this.#loadObserved();
  }

  #loadObserved() {
    if (!this.#isObserved || !this.#isInSight) return;
    Object.keys(SIDES).forEach((side, i) => {
      const { segment, length } = this.#hard[side];
      attempt(() => this.#observed[i]?.load(segment, length, () => this.#isObserved, this.#signal));
    });
  }

  /** The clips that are on their screens. */
  get clips() {
    return this.#screens.map(({ clip }) => clip).filter((clip) => clip !== null);
  }

  /** Puts both clips on their screens. */
  load() {
    if (!this.#isInSight) {
      this.#isInSight = true;
      this.#loadObserved();
    }
    return Promise.all(this.#screens.map((screen) => screen.load()));
  }

  /** What the server says of it now; calls `done` when a clip has taken the place of another. */
  update(hard, done) {
    Object.keys(SIDES).forEach((side, i) => this.#screens[i].update(hard[side], done));
  }

  /** Shows whether it plays. */
  mark(playing) {
    const word = playing ? "Stop" : "Play";
    setText(this.#text, word);
    this.#button.setAttribute("aria-label", `${word} pair ${this.#number}`);
    this.node.classList.toggle("playing", playing);
  }
}
