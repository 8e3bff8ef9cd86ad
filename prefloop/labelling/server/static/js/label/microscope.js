// What the learned reward says of each step of the two clips: for who asks, since it may sway an answer.

import { attempt, getTraces } from "../common/api.js";
import { RewardTrace, rewardRanges } from "../common/rewardtrace.js";
import { SIDES, UnderClips } from "./underclips.js";

const WORDS = {
  button: "Reward",
  show: "Show what the learned reward says of each step",
  hide: "Hide what the learned reward says",
};

export class Microscope extends UnderClips {
  #run;
  #traces = [];

  /** `player` is what plays the clips, and goes to a step that is clicked. */
  constructor(run, player, signal) {
    super("microscope", "microscope", player, signal, WORDS);
    this.#run = run;
  }

  look() {
    this.#traces = [];
    const pair = this.pair;
    if (!this.isOpen || !pair) return;
    for (const side of SIDES) this.say(side, "Looking …");
    attempt(async () => {
      const known = await getTraces(this.#run);
      if (this.isWanted(pair)) this.#draw(SIDES.map((side) => known[pair[side].segment] ?? null));
    });
  }

  follow() {
    for (const trace of this.#traces) trace.show(this.player.step);
  }

  #draw(traces) {
    if (traces.includes(null)) {
      for (const side of SIDES) this.say(side, "No reward was learned yet that says anything of this clip.");
      return;
    }
    const ranges = rewardRanges(traces);
    this.#traces = SIDES.map((side, i) => {
      const trace = new RewardTrace(traces[i], ranges, `Reward of each step of the ${side} clip`, (step) => this.player.scrub(step));
      trace.node.addEventListener("mousedown", (event) => event.preventDefault()); // keys go on answering
      this.places[side].replaceChildren(trace.node);
      return trace;
    });
    this.follow();
  }
}
