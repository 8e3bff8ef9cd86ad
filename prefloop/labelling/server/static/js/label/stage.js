// The two clips beside each other; on a phone, one above the other.

import { make, setText } from "../common/dom.js";
import { calm } from "../common/player.js";
import { isLink } from "../common/session.js";
import { word } from "../common/words.js";
import { flash } from "./flash.js";

const NARROW = window.matchMedia("(max-width: 640px)");
const NAMES = { left: ["left", "upper"], right: ["right", "lower"] };

/** Whether the clips are one above the other. */
export function isStacked() {
  return NARROW.matches;
}

/** "Left" or "Upper", or with the ending "Better" that it is better, as a button's or a clip's face: whichever is true is shown. */
export function sideName(side, ending = "") {
  const [beside, stacked] = NAMES[side];
  return [
    make("span", { class: "beside" }, word(beside + ending)),
    make("span", { class: "stacked" }, word(stacked + ending)),
  ];
}

/** What a side is called for now, among the page's words: "left" or "upper". */
export function nameOf(side) {
  return NAMES[side][isStacked() ? 1 : 0];
}

export class Stage {
  #player;
  #sides = {};
  #note = make("div", { class: "note plotted", hidden: true });

  /** `controls` is the element that goes under the clips; a click on a clip plays or pauses. */
  constructor(player, controls, signal) {
    this.#player = player;
    const figures = Object.keys(NAMES).map((side) => this.#figure(side));
    this.node = make(
      "section",
      { class: "stage", "aria-label": word("clips"), hidden: true },
      make("div", { class: "clips" }, figures),
      this.#note,
      controls,
    );
    player.addEventListener("change", () => this.#showEnds(), { signal });
  }

  #figure(side) {
    const screen = make("div", { class: "screen", onclick: () => this.#player.toggle() });
    const steps = make("span", { class: "steps" });
    const figure = make(
      "figure",
      { class: `clip ${side}`, "data-side": side },
      screen,
      make("figcaption", {}, make("span", { class: "title" }, sideName(side)), steps),
    );
    this.#sides[side] = { figure, screen, steps };
    return figure;
  }

  /** Puts something under one of the clips, for good. */
  addUnder(side, node) {
    this.#sides[side].figure.append(node);
  }

  /** Puts a pair's clips on the page, and plays them. */
  show(pair) {
    Object.keys(NAMES).forEach((side, i) => {
      const { figure, screen, steps } = this.#sides[side];
      screen.replaceChildren(pair.clips[i].node);
      figure.dataset.segment = pair[side].segment;
      // then what is shown is a plot, of this page's or of the server's
      figure.classList.toggle("plot", pair[side].clip_error !== null);
      setText(steps, word("steps", { n: pair.clips[i].length }));
    });
    const aspect = Math.min(...pair.clips.map((clip) => clip.aspect));
    this.node.parentElement.style.setProperty("--aspect", aspect);
    this.#explain(pair.left.clip_error ?? pair.right.clip_error);
    this.node.dataset.lease = pair.lease;
    this.#player.show(pair.clips, !calm());
  }

  /** Lights the clip that was chosen. */
  flash(choice) {
    const side = this.#sides[choice];
    if (side) flash(side.figure);
  }

  /** Says how to read a plot; the reason why there is no picture is there for who asks. */
  #explain(reason) {
    this.#note.hidden = !reason;
    this.#note.replaceChildren(
      make("span", {}, word("plotNote")),
      // a participant can do nothing about it
      ...(isLink() ? [] : [make("details", {}, make("summary", {}, word("plotWhy")), make("p", {}, reason ?? ""))]),
    );
  }

  /** Marks a clip that is over while the other goes on. */
  #showEnds() {
    const { clips, step, stop } = this.#player;
    clips.forEach((clip, i) => {
      const over = step >= clip.length && stop > clip.length;
      this.#sides[i ? "right" : "left"].figure.classList.toggle("over", over);
    });
  }
}
