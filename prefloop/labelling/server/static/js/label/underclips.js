// Something under each of the two clips, for who asks; this browser remembers whether it is shown.

import { keyButton } from "../common/controls.js";
import { make } from "../common/dom.js";
import { browser } from "../common/storage.js";

export const SIDES = ["left", "right"];

/** Whoever extends it has `look`, called when another pair or nothing is to be shown, and `follow`, called at each step. */
export class UnderClips {
  places;
  button;
  pair = null;
  isOpen;
  #key;
  #titles;

  /**
   * `key` is what this browser remembers it by, and `kind` the button's name; `player` is what plays the clips; `words` are
   * the button's and its titles, to `show` it and to `hide` it.
   */
  constructor(key, kind, player, signal, words) {
    this.#key = key;
    this.#titles = words;
    this.player = player;
    this.signal = signal;
    this.isOpen = browser.read(key, false);
    this.places = Object.fromEntries(SIDES.map((side) => [side, make("div", { class: kind, hidden: true })]));
    this.button = keyButton(kind, () => this.toggle(), { class: "plain" }, words.button);
    player.addEventListener("change", () => this.follow(), { signal });
    this.#mark();
  }

  /** Shows it, or no longer. */
  toggle() {
    this.isOpen = !this.isOpen;
    browser.write(this.#key, this.isOpen);
    this.#mark();
    this.look();
  }

  /** Another pair is on the page. */
  show(pair) {
    this.pair = pair;
    this.look();
  }

  /** Whether what was asked for about a pair is still to be shown. */
  isWanted(pair) {
    return this.isOpen && pair === this.pair && !this.signal.aborted;
  }

  /** Says something under a clip, in place of what is shown there. */
  say(side, sentence) {
    this.places[side].replaceChildren(make("p", { class: "note" }, sentence));
  }

  #mark() {
    this.button.setAttribute("aria-pressed", String(this.isOpen));
    this.button.title = this.isOpen ? this.#titles.hide : this.#titles.show;
    for (const place of Object.values(this.places)) place.hidden = !this.isOpen;
  }
}
