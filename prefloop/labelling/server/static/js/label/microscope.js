// What the learned reward says of each step of the two clips: for who asks, since it may sway an answer.

import { attempt, getTraces } from "../common/api.js";
import { keyButton } from "../common/controls.js";
import { make } from "../common/dom.js";
import { RewardTrace, rewardRanges } from "../common/rewardtrace.js";
import { browser } from "../common/storage.js";

const KEY = "microscope";
const SIDES = ["left", "right"];

export class Microscope {
  button = keyButton("microscope", () => this.toggle(), { class: "plain" }, "Reward");
  places = Object.fromEntries(SIDES.map((side) => [side, make("div", { class: "microscope", hidden: true })]));
  #run;
  #player;
  #signal;
  #isOpen = browser.read(KEY, false);
  #pair = null;
  #traces = [];

  /** `player` is what plays the clips, and goes to a step that is clicked. */
  constructor(run, player, signal) {
    this.#run = run;
    this.#player = player;
    this.#signal = signal;
    player.addEventListener("change", () => this.#follow(), { signal });
    this.#mark();
  }

  /** Shows it under the clips, or no longer; this browser remembers. */
  toggle() {
    this.#isOpen = !this.#isOpen;
    browser.write(KEY, this.#isOpen);
    this.#mark();
    this.#look();
  }

  /** Another pair is on the page. */
  show(pair) {
    this.#pair = pair;
    this.#look();
  }

  #mark() {
    this.button.setAttribute("aria-pressed", String(this.#isOpen));
    this.button.title = this.#isOpen ? "Hide what the learned reward says" : "Show what the learned reward says of each step";
    for (const place of Object.values(this.places)) place.hidden = !this.#isOpen;
  }

  #look() {
    this.#traces = [];
    const pair = this.#pair;
    if (!this.#isOpen || !pair) return;
    for (const place of Object.values(this.places)) place.replaceChildren(make("p", { class: "note" }, "Looking …"));
    attempt(async () => {
      const known = await getTraces(this.#run);
      if (this.#signal.aborted || pair !== this.#pair || !this.#isOpen) return;
      this.#draw(SIDES.map((side) => known[pair[side].segment] ?? null));
    });
  }

  #draw(traces) {
    if (traces.includes(null)) {
      for (const place of Object.values(this.places)) {
        place.replaceChildren(make("p", { class: "note" }, "No reward was learned yet that says anything of this clip."));
      }
      return;
    }
    const ranges = rewardRanges(traces);
    this.#traces = SIDES.map((side, i) => {
      const trace = new RewardTrace(traces[i], ranges, `Reward of each step of the ${side} clip`, (step) => this.#player.scrub(step));
      this.places[side].replaceChildren(trace.node);
      return trace;
    });
    this.#follow();
  }

  #follow() {
    for (const trace of this.#traces) trace.show(this.#player.step);
  }
}
