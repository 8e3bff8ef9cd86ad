// What a reward model makes of the labels: how often it agrees, and the pairs that it finds hardest.

import { count, make, percent } from "../common/dom.js";
import { HardPair } from "./hardpair.js";
import { OBSERVED } from "../common/observed.js";
import { beginningSpeed, calm, Player } from "../common/player.js";
import { browser } from "../common/storage.js";
import { word } from "../common/words.js";

/** What stands under the clips, if anything does. */
function legend(hardest) {
  const traces = hardest.map((hard) => [hard.first_reward, hard.second_reward]).filter((both) => !both.includes(null)).flat();
  if (!traces.length) return null;
  const own = traces.some((trace) => trace.true) ? ", and, dashed and on a scale of its own, the true one" : "";
  return make("p", { class: "faint" }, `Under each clip the reward that was learned, step by step, with what the members of the ensemble say${own}. A click goes to that step.`);
}

/** Shows a reward model's report; clips are loaded when they come into sight, and one pair plays at a time. */
export class HardPairs {
  #player = new Player();
  #signal;
  #pairs = new Map(); // by query
  #playing = null;
  #pinned = false; // by the button, so that it goes on when the mouse leaves
  #wanted = null; // the step that the pair is to stay at
  #observer = null;

  constructor(signal) {
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#clear());
    this.#player.addEventListener("change", () => {
      if (this.#player.clips.length) this.#playing?.show(this.#player.step);
    }, { signal });
  }

  /** What stands under the section's title; `pictures` as `picturesOf` says. */
  show({ accuracy, labels, hardest }, pictures) {
    this.#clear();
    this.#pairs = new Map(hardest.map((hard, i) => [hard.query, this.#pair(hard, i + 1, pictures)]));
    this.#loadInSight();
    const agree = `of ${count(labels, "label")} ${labels === 1 ? "agrees" : "agree"} with the reward model. It has learned from most of them: of others it is right about fewer.`;
    const nodes = [...this.#pairs.values()].map((pair) => pair.node);
    return [
      make("p", {}, make("b", {}, percent(accuracy)), ` ${agree}`),
      ...(nodes.length
        ? [make("h3", {}, "The pairs that it finds hardest"), legend(hardest), pictures && this.#observedSwitch(), make("ol", { class: "hard-pairs" }, nodes)]
        : []),
    ];
  }

  /** Takes what the server says of the same pairs now: a clip may be there that was not. */
  update(hardest) {
    for (const hard of hardest) {
      const pair = this.#pairs.get(hard.query);
      pair?.update(hard, () => this.#playing === pair && this.#player.show(pair.clips, this.#player.playing));
    }
  }

  #loadInSight() {
    const byNode = new Map([...this.#pairs.values()].map((pair) => [pair.node, pair]));
    this.#observer = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          if (!isIntersecting) continue;
          this.#observer.unobserve(target);
          byNode.get(target).load();
        }
      },
      { rootMargin: "200px" },
    );
    for (const node of byNode.keys()) this.#observer.observe(node);
  }

  #clear() {
    this.#observer?.disconnect();
    this.#stop();
  }

  #observedSwitch() {
    const button = make("button", { type: "button", class: "plain" }, word("observedButton"));
    const show = (isOpen) => {
      button.setAttribute("aria-pressed", String(isOpen));
      button.title = word(isOpen ? "observedHide" : "observedShow");
      for (const pair of this.#pairs.values()) pair.observe(isOpen);
    };
    button.addEventListener("click", () => {
      browser.write(OBSERVED, !browser.read(OBSERVED, false));
      show(browser.read(OBSERVED, false));
    });
    show(browser.read(OBSERVED, false));
    return button;
  }

  #pair(hard, number, pictures) {
    const pair = new HardPair(hard, number, pictures, {
      press: () => {
        const stops = this.#playing === pair && this.#pinned;
        this.#pinned = !stops;
        this.#wanted = null;
        if (stops) this.#stop();
        else this.#play(pair);
      },
      enter: (event) => {
        if (event.pointerType === "mouse" && !calm() && !this.#pinned) this.#play(pair);
      },
      leave: () => {
        if (this.#playing === pair && !this.#pinned) this.#stop();
      },
      go: (step) => {
        this.#play(pair);
        this.#pinned = true; // it stays where it was put
        this.#wanted = step;
        pair.show(step);
        if (this.#player.clips.length) this.#player.scrub(step);
      },
    }, this.#signal);
    return pair;
  }

  async #play(pair) {
    if (this.#playing === pair) return;
    this.#stop();
    this.#playing = pair;
    pair.mark(true);
    await pair.load();
    if (this.#playing !== pair || !pair.clips.length) return;
    this.#player.setSpeed(beginningSpeed(1, pair.clips));
    this.#player.show(pair.clips, this.#wanted === null);
    if (this.#wanted !== null) this.#player.scrub(this.#wanted);
  }

  #stop() {
    const { clips } = this.#player;
    this.#wanted = null;
    this.#player.hide();
    for (const clip of clips) clip.seek(0);
    this.#playing?.show(0);
    this.#playing?.mark(false);
    this.#playing = null;
  }
}
