// The pairs that a reward model finds hardest: two small clips each, and who says what of them.

import { Refused } from "./api.js";
import { makeClip, TraceClip } from "./clips.js";
import { count, make, percent, setText } from "./dom.js";
import { framesText } from "./controls.js";
import { calm, Player } from "./player.js";

const SIDES = { first: "left", second: "right" }; // whose colour each has
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

/** Shows a reward model's report; clips are loaded when they come into sight, and one pair plays at a time. */
export class HardPairs {
  #player = new Player();
  #signal;
  #playing = null;
  #pinned = false; // by the button, so that it goes on when the mouse leaves
  #observer = null;

  constructor(signal) {
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#clear());
  }

  /** What stands under the section's title. */
  show({ accuracy, labels, hardest }) {
    this.#clear();
    this.#observer = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          if (!isIntersecting) continue;
          this.#observer.unobserve(target);
          pairs.get(target).load();
        }
      },
      { rootMargin: "200px" },
    );
    const pairs = new Map(hardest.map((hard, i) => {
      const pair = this.#pair(hard, i + 1);
      return [pair.node, pair];
    }));
    for (const node of pairs.keys()) this.#observer.observe(node);
    const agree = `of ${count(labels, "label")} ${labels === 1 ? "agrees" : "agree"} with the reward model.`;
    return [
      make("p", {}, make("b", {}, percent(accuracy)), ` ${agree}`),
      ...(hardest.length
        ? [make("h3", {}, "The pairs that it finds hardest"), make("ol", { class: "hard-pairs" }, [...pairs.keys()])]
        : []),
    ];
  }

  #clear() {
    this.#observer?.disconnect();
    this.#stop();
  }

  #pair(hard, number) {
    const play = make("span", {}, "Play");
    const button = make("button", { type: "button", class: "plain", "aria-label": `Play pair ${number}` }, play);
    const screens = Object.keys(SIDES).map(() => make("div", { class: "screen" }));
    const figures = Object.entries(SIDES).map(([side, colour], i) =>
      make(
        "figure",
        { class: `clip ${colour}`, "data-segment": hard[side].segment },
        screens[i],
        make("figcaption", {}, make("span", {}, side === "first" ? "First" : "Second"), make("span", { class: "steps" }, count(hard[side].length, "step"))),
      ),
    );
    const clips = make("div", { class: "clips" }, figures);
    const pair = {
      clips: null,
      node: make(
        "li",
        { class: "hard-pair", "data-query": hard.query },
        clips,
        make(
          "div",
          { class: "verdict" },
          make("div", {}, peopleSay(hard.said), make("p", { class: "model" }, modelSays(hard.probability, hard.said))),
          button,
        ),
      ),
      load: () => {
        pair.clips ??= Promise.all(
          Object.keys(SIDES).map((side, i) => this.#clip(hard[side], `${side} clip of pair ${number}`, screens[i])),
        );
        return pair.clips;
      },
      mark: (playing) => {
        setText(play, playing ? "Stop" : "Play");
        button.setAttribute("aria-label", `${playing ? "Stop" : "Play"} pair ${number}`);
        pair.node.classList.toggle("playing", playing);
      },
    };
    button.addEventListener("click", () => {
      const stops = this.#playing === pair && this.#pinned;
      this.#pinned = !stops;
      if (stops) this.#stop();
      else this.#play(pair);
    });
    clips.addEventListener("pointerenter", (event) => {
      if (event.pointerType === "mouse" && !calm() && !this.#pinned) this.#play(pair);
    });
    clips.addEventListener("pointerleave", () => {
      if (this.#playing === pair && !this.#pinned) this.#stop();
    });
    return pair;
  }

  /** A side's clip, ready and on its screen; a plot where there is no video any more. */
  async #clip(side, label, screen) {
    setText(screen, "Loading …");
    let clip = makeClip(side, label, this.#signal);
    try {
      await clip.ready;
    } catch (error) {
      if (!(error instanceof Refused)) return this.#failed(screen, error);
      clip = new TraceClip(side, label, this.#signal);
      try {
        await clip.ready;
      } catch (reason) {
        return this.#failed(screen, reason);
      }
    }
    screen.replaceChildren(clip.node);
    return clip;
  }

  #failed(screen, error) {
    if (!this.#signal.aborted) setText(screen, error.message);
    return null;
  }

  async #play(pair) {
    if (this.#playing === pair) return;
    this.#stop();
    this.#playing = pair;
    pair.mark(true);
    const clips = (await pair.load()).filter((clip) => clip !== null);
    if (this.#playing === pair && clips.length) this.#player.show(clips);
  }

  #stop() {
    const { clips } = this.#player;
    this.#player.hide();
    for (const clip of clips) clip.seek(0);
    this.#playing?.mark(false);
    this.#playing = null;
  }
}
