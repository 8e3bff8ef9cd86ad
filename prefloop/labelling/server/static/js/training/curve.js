// A line over the steps of a training.

import { draw, make } from "../common/dom.js";

const WIDTH = 300;
const HEIGHT = 90;
const EDGE = 4;

const short = (value) => Number(value.toPrecision(3)).toLocaleString("en");

/** One number of `points` ({steps, …}) as a line with what it began with and is now; null where there is none. */
export function curve(points, name, title) {
  const known = points.filter((point) => point[name] !== null);
  if (known.length < 2) return null;
  const values = known.map((point) => point[name]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [first, last] = [known[0].steps, known.at(-1).steps];
  const x = (steps) => EDGE + ((steps - first) / (last - first || 1)) * (WIDTH - 2 * EDGE);
  const y = (value) => HEIGHT - EDGE - ((value - low) / (high - low || 1)) * (HEIGHT - 2 * EDGE);
  const line = known.map((point) => `${x(point.steps).toFixed(1)},${y(point[name]).toFixed(1)}`);
  const said = `from ${short(values[0])} to ${short(values.at(-1))}, between ${short(low)} and ${short(high)}`;
  return make(
    "figure",
    { class: "training-curve" },
    make("figcaption", {}, title, make("b", {}, short(values.at(-1)))),
    draw(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: ${said}` },
      draw("polyline", { class: "line", points: line.join(" ") }),
    ),
    make("p", { class: "faint" }, `step ${first.toLocaleString("en")} to ${last.toLocaleString("en")}, ${said}`),
  );
}
