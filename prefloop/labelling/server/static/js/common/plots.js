// What was observed and done in a segment, as lines over its steps: for what can't be drawn.
//
// Each number has a row of its own, with its name. The two plots of a pair have the same axes, so that
// they can be compared: a row reaches from the lowest to the highest that either side has of it.

import { getSegment, persist } from "./api.js";
import { draw, make } from "./dom.js";
import { word } from "./words.js";

const WIDTH = 480;
const HEIGHT = 100; // of a row
const HIGHEST = 30; // where its line goes at most: above stands its name
const LOWEST = 94;
const MAX_LINES = 12;

const short = (value) => String(Number(value.toPrecision(3)));

/** The numbers of a segment as rows: [name, its value at each step]. */
function rowsOf({ obs, actions, obs_names, action_names }) {
  const vectors = actions.map((value) => [value].flat());
  const column = (values, i) => values.map((row) => row[i]);
  return [
    ...obs_names.map((name, i) => [name, column(obs, i)]),
    ...action_names.map((name, i) => [name, column(vectors, i)]),
  ];
}

/** A drawing that takes whatever room there is. */
function canvas(line) {
  return draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, line);
}

/** What the plots of a pair share; loads both segments when the first is wanted. */
export class Axes {
  #sides;
  #signal;
  #loading = null;

  constructor(sides, signal) {
    this.#sides = sides;
    this.#signal = signal;
  }

  /** `rows` by segment; `ranges`, the lowest and highest of each row; `length`, of the longer, in steps; `all` rows there are. */
  load() {
    this.#loading ??= this.#load();
    return this.#loading;
  }

  async #load() {
    const segments = await Promise.all(this.#sides.map(({ segment }) => persist(() => getSegment(segment), this.#signal)));
    const rows = segments.map(rowsOf);
    const ranges = rows[0].map((_, i) => {
      const values = rows.flatMap((own) => own[i][1]);
      return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
    });
    return {
      // the last are the actions
      rows: new Map(this.#sides.map(({ segment }, i) => [segment, rows[i].slice(-MAX_LINES)])),
      ranges: ranges.slice(-MAX_LINES),
      length: Math.max(...segments.map(({ length }) => length)),
      all: ranges.length,
    };
  }
}

/** A plot of one side; letters are not part of the drawing, so that they stay legible on a small one. */
export class TraceClip {
  moves = false;
  seconds = null;
  aspect = 1.5;
  #place = 0;
  #steps; // that the plot is wide
  #cursor = draw("line", { class: "trace-cursor", y1: 0, y2: HEIGHT });

  constructor(side, label, axes) {
    this.length = side.length;
    this.node = make("div", { class: "trace", role: "img" });
    this.ready = axes.load().then((shared) => this.#draw(shared, shared.rows.get(side.segment), label));
    this.ready.catch(() => {});
  }

  #draw({ ranges, length, all }, rows, label) {
    this.#steps = length;
    const said = { label, count: rows.length, all, rows: rows.map(([name]) => name).join(", ") };
    this.node.setAttribute("aria-label", word(all > rows.length ? "plotOfLast" : "plot", said));
    this.node.append(...rows.map(([name, values], i) => this.#row(name, values, ranges[i])), canvas(this.#cursor));
    this.seek(0);
  }

  #row(name, values, [low, high]) {
    const points = values.map((value, step) => {
      const share = high > low ? (value - low) / (high - low) : 0.5;
      return `${this.#x(step + 0.5).toFixed(1)},${(LOWEST - share * (LOWEST - HIGHEST)).toFixed(1)}`;
    });
    return make(
      "div",
      { class: "trace-row" },
      canvas(draw("polyline", { class: "trace-line", points: points.join(" ") })),
      make("span", {}, name),
      make("span", { class: "trace-range" }, high > low ? word("range", { low: short(low), high: short(high) }) : short(low)),
    );
  }

  #x(place) {
    return (place / this.#steps) * WIDTH;
  }

  place() {
    return this.#place;
  }

  seek(place) {
    this.#place = Math.min(place, this.length);
    const x = this.#x(Math.min(Math.floor(place), this.length - 1) + 0.5);
    this.#cursor.setAttribute("x1", x);
    this.#cursor.setAttribute("x2", x);
    return Promise.resolve();
  }

  play() {
    return Promise.resolve();
  }

  pause() {}

  setRate() {}
}
