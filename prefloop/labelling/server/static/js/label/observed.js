// What the agent and its reward see of the two clips, where they see pictures: for who asks, since they see less than people.

import { Refused, Unreachable } from "../common/api.js";
import { keyButton } from "../common/controls.js";
import { make } from "../common/dom.js";
import { OBSERVED, ObservedFrames } from "../common/observed.js";
import { browser } from "../common/storage.js";
import { word } from "../common/words.js";

const SIDES = { left: "observedLeft", right: "observedRight" };

export class Observed {
  button = keyButton("observed", () => this.toggle(), { class: "plain" }, word("observedButton"));
  places = {};
  #frames = {};
  #player;
  #signal;
  #isOpen = browser.read(OBSERVED, false);
  #pair = null;

  /** `pictures` is what `picturesOf` says of the run; `player` is what plays the clips. */
  constructor(pictures, player, signal) {
    this.#player = player;
    this.#signal = signal;
    for (const [side, label] of Object.entries(SIDES)) {
      this.#frames[side] = new ObservedFrames(pictures, word(label));
      this.places[side] = make("div", { class: "observed", hidden: true });
    }
    player.addEventListener("change", () => this.#follow(), { signal });
    this.#mark();
  }

  /** Shows it under the clips, or no longer; this browser remembers. */
  toggle() {
    this.#isOpen = !this.#isOpen;
    browser.write(OBSERVED, this.#isOpen);
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
    this.button.title = word(this.#isOpen ? "observedHide" : "observedShow");
    for (const place of Object.values(this.places)) place.hidden = !this.#isOpen;
  }

  #look() {
    const pair = this.#pair;
    for (const side of Object.keys(SIDES)) {
      this.#frames[side].clear();
      if (this.#isOpen && pair) this.#load(side, pair);
    }
  }

  async #load(side, pair) {
    const frames = this.#frames[side];
    this.places[side].replaceChildren(frames.node);
    try {
      await frames.load(pair[side].segment, pair[side].length, () => pair === this.#pair && this.#isOpen, this.#signal);
    } catch (error) {
      if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
      if (pair === this.#pair) this.places[side].replaceChildren(make("p", { class: "note" }, word("observedNone")));
    }
  }

  #follow() {
    for (const frames of Object.values(this.#frames)) frames.show(this.#player.step);
  }
}
