// The two clips beside each other; on a phone, one above the other.

import { count, make, setText } from "../common/dom.js";
import { calm } from "../common/player.js";

const NARROW = window.matchMedia("(max-width: 640px)");
const NAMES = { left: ["Left", "Upper"], right: ["Right", "Lower"] };

/** Whether the clips are one above the other. */
export function isStacked() {
  return NARROW.matches;
}

/** "Left" or "Upper" with an ending, as a button's or a clip's face: whichever is true is shown. */
export function sideName(side, ending = "") {
  const [beside, stacked] = NAMES[side];
  return [
    make("span", { class: "beside" }, beside + ending),
    make("span", { class: "stacked" }, stacked + ending),
  ];
}

/** The same as a text for now. */
export function sideText(side, ending) {
  return NAMES[side][isStacked() ? 1 : 0] + ending;
}

export class Stage {
  #player;
  #sides = {};

  /** `controls` is the element that goes under the clips; a click on a clip plays or pauses. */
  constructor(player, controls, signal) {
    this.#player = player;
    const figures = Object.keys(NAMES).map((side) => this.#figure(side));
    this.node = make(
      "section",
      { class: "stage", "aria-label": "The two clips", hidden: true },
      make("div", { class: "clips" }, figures),
      controls,
    );
    player.addEventListener("change", () => this.#showEnds(), { signal });
  }

  #figure(side) {
    const screen = make("div", { class: "screen", onclick: () => this.#player.toggle() });
    const steps = make("span", { class: "steps" });
    const note = make("p", { class: "note" });
    const figure = make(
      "figure",
      { class: `clip ${side}`, "data-side": side },
      screen,
      make("figcaption", {}, make("span", { class: "title" }, sideName(side)), steps),
      note,
    );
    this.#sides[side] = { figure, screen, steps, note };
    return figure;
  }

  /** Puts something under one of the clips, for good. */
  addUnder(side, node) {
    this.#sides[side].figure.append(node);
  }

  /** Puts a pair's clips on the page, and plays them. */
  show(pair) {
    Object.keys(NAMES).forEach((side, i) => {
      const { figure, screen, steps, note } = this.#sides[side];
      screen.replaceChildren(pair.clips[i].node);
      figure.dataset.segment = pair[side].segment;
      // then what is shown is a plot, of the server's or of this page's
      setText(note, pair[side].clip_error ?? "");
      setText(steps, count(pair.clips[i].length, "step"));
    });
    this.node.dataset.lease = pair.lease;
    this.#player.show(pair.clips, !calm());
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
