// The reward of each step under a clip: a line, what the members of the ensemble say, and the true one.

import { draw, make } from "./dom.js";

const WIDTH = 240;
const HEIGHT = 72;
const EDGE = 3;

const short = (value) => String(Number(value.toPrecision(3)));

// not Math.min(...values): a long episode has more steps than a call may have arguments
const ends = (values) =>
  values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);

/** Lowest and highest of what is drawn of some traces, so that two clips have one scale; the true reward has its own. */
export function rewardRanges(traces) {
  return {
    learned: ends(traces.flatMap(({ lowest, highest }) => [...(lowest ?? []), ...(highest ?? [])])),
    own: ends(traces.flatMap((trace) => trace.true ?? [])),
  };
}

export class RewardTrace {
  node;
  #trace;
  #slider;
  #cursor = draw("line", { class: "reward-cursor", y1: 0, y2: HEIGHT });
  #figures = make("span", { class: "reward-figures" });

  /**
   * `trace` has `learned` with `lowest` and `highest`, or `true`, or both; `ranges` are those of `rewardRanges`.
   * `go` is called with a step that is clicked.
   */
  constructor(trace, ranges, label, go) {
    this.#trace = trace;
    const { learned, lowest, highest, true: own } = trace;
    const steps = (learned ?? own).length;
    const last = steps - 1;
    const svg = draw("svg", {
      class: "reward-trace", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", tabindex: 0,
      role: "slider", "aria-label": label, "aria-valuemin": 1, "aria-valuemax": steps,
    });
    this.#slider = svg;
    if (learned) {
      const band = [...this.#points(highest, ranges.learned), ...this.#points(lowest, ranges.learned).reverse()];
      svg.append(draw("polygon", { class: "reward-band", points: band.join(" ") }));
    }
    if (own) svg.append(draw("polyline", { class: "reward-true", points: this.#points(own, ranges.own).join(" ") }));
    if (learned) svg.append(draw("polyline", { class: "reward-learned", points: this.#points(learned, ranges.learned).join(" ") }));
    svg.append(this.#cursor);
    const at = (event) => {
      const box = svg.getBoundingClientRect();
      const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
      go(Math.min(Math.floor(share * steps), last));
    };
    const keys = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -last, End: last };
    svg.addEventListener("keydown", (event) => {
      if (!(event.key in keys)) return;
      event.preventDefault();
      go(Math.min(Math.max(Number(this.node.dataset.step) + keys[event.key], 0), last));
    });
    svg.addEventListener("pointerdown", at);
    svg.addEventListener("pointermove", (event) => event.buttons && at(event));
    this.node = make("div", { class: "reward" }, svg, this.#figures);
    this.show(0);
  }

  /** Puts the cursor on a step, and says what it is worth; people count from 1, as beside it. */
  show(step) {
    const { learned, true: own } = this.#trace;
    const steps = (learned ?? own).length;
    const at = Math.min(step, steps - 1);
    const x = this.#x(at, steps);
    this.#cursor.setAttribute("x1", x);
    this.#cursor.setAttribute("x2", x);
    this.node.dataset.step = at;
    const worth = [learned && `reward ${short(learned[at])}`, own && `true ${learned ? "" : "reward "}${short(own[at])}`];
    const said = `Step ${at + 1}: ${worth.filter(Boolean).join(", ")}`;
    this.#figures.textContent = said;
    this.#slider.setAttribute("aria-valuenow", at + 1);
    this.#slider.setAttribute("aria-valuetext", said);
  }

  #x(step, steps) {
    return ((step + 0.5) / steps) * WIDTH;
  }

  #points(values, [low, high]) {
    const spread = high - low || 1;
    return values.map((value, step) => {
      const y = HEIGHT - EDGE - ((value - low) / spread) * (HEIGHT - 2 * EDGE);
      return `${this.#x(step, values.length).toFixed(1)},${y.toFixed(1)}`;
    });
  }
}
