// What the agent and its reward see of the two clips, where they see pictures: for who asks, since they see less than people.

import { Refused, Unreachable } from "../common/api.js";
import { OBSERVED, ObservedFrames } from "../common/observed.js";
import { word } from "../common/words.js";
import { SIDES, UnderClips } from "./underclips.js";

export class Observed extends UnderClips {
  #frames;

  /** `pictures` is what `picturesOf` says of the run; `player` is what plays the clips. */
  constructor(pictures, player, signal) {
    const words = { button: word("observedButton"), show: word("observedShow"), hide: word("observedHide") };
    super(OBSERVED, "observed", player, signal, words);
    this.#frames = {
      left: new ObservedFrames(pictures, word("observedLeft")),
      right: new ObservedFrames(pictures, word("observedRight")),
    };
  }

  look() {
    for (const side of SIDES) {
      this.#frames[side].clear();
      if (this.isOpen && this.pair) this.#load(side, this.pair);
    }
  }

  follow() {
    for (const frames of Object.values(this.#frames)) frames.show(this.player.step);
  }

  async #load(side, pair) {
    const frames = this.#frames[side];
    this.places[side].replaceChildren(frames.node);
    try {
      await frames.load(pair[side].segment, pair[side].length, () => this.isWanted(pair), this.signal);
    } catch (error) {
      if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
      if (pair === this.pair) this.say(side, word("observedNone"));
    }
  }
}
