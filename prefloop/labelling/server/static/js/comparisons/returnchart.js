// Return against steps or labels: a line a run as it was noted, and the policies that can be played as points.

import { draw, make } from "../common/dom.js";
import { figure, policyName, withInterval } from "./panel.js";

const WIDTH = 520;
const HEIGHT = 260;
const EDGE = { left: 62, right: 30, top: 12, bottom: 40 };

/** Round numbers from `low` to `high`, about `most` of them. */
function ticks(low, high, most = 5) {
  const raw = (high - low || 1) / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

function ends(values, atLeast) {
  const known = values.filter((value) => value !== null);
  const low = Math.min(...known), high = Math.max(...known);
  return high - low > atLeast ? [low, high] : [low - atLeast, high + atLeast];
}

/**
 * A chart along "steps" or "labels": its node, and how to mark which policy of each run is shown; null if no
 * policy is known to stand anywhere along it. `onPick` is called with places, [{run, policy}].
 */
export function returnChart(runs, along, onPick) {
  const lines = runs.map(({ curve }) => curve.filter((point) => point[along] !== null && point.return !== null));
  const points = runs.flatMap(({ name, policies }, run) =>
    policies.map((shown, policy) => ({ run, policy, shown, name })).filter(({ shown }) => shown[along] !== null));
  if (!points.length) return null;
  const [left, right] = ends([0, ...lines.flat().map((point) => point[along]), ...points.map(({ shown }) => shown[along])], 0.5);
  const [low, high] = ends([...lines.flat().map((point) => point.return), ...points.flatMap(({ shown }) => [shown.mean, shown.low, shown.high])], 0.5);
  const x = (value) => EDGE.left + ((value - left) / (right - left)) * (WIDTH - EDGE.left - EDGE.right);
  const y = (value) => HEIGHT - EDGE.bottom - ((value - low) / (high - low)) * (HEIGHT - EDGE.top - EDGE.bottom);
  const svg = draw("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": `Return against ${along}` });
  for (const value of ticks(low, high)) {
    svg.append(
      draw("line", { class: value === 0 ? "grid zero" : "grid", x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y(value), y2: y(value) }),
      draw("text", { x: EDGE.left - 12, y: y(value) + 4, "text-anchor": "end" }, figure(value)),
    );
  }
  for (const value of ticks(Math.max(left, 0), right, 4)) {
    svg.append(draw("text", { x: x(value), y: HEIGHT - EDGE.bottom + 18, "text-anchor": "middle" }, figure(value)));
  }
  svg.append(draw("text", { x: (WIDTH + EDGE.left) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, along));
  lines.forEach((line, run) => {
    const places = line.map((point) => `${x(point[along]).toFixed(1)},${y(point.return).toFixed(1)}`);
    svg.append(draw("polyline", { class: `curve run-${run + 1}`, points: places.join(" ") }));
  });
  for (const point of points) {
    const { run, policy, shown, name } = point;
    const at = { cx: x(shown[along]), cy: y(shown.mean) };
    const dot = draw("circle", { ...at, r: 5, tabindex: 0, role: "button", "aria-label": `${name}: ${policyName(shown)}, mean return ${withInterval(shown)}; play` }, draw("title", {}, `${name}: ${policyName(shown)}, ${withInterval(shown)}`));
    dot.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      onPick([{ run, policy }]);
    });
    const whisker = shown.low === null ? [] : [draw("line", { class: "whisker", x1: at.cx, x2: at.cx, y1: y(shown.low), y2: y(shown.high) })];
    point.node = draw("g", { class: `point run-${run + 1}` }, whisker, dot);
    point.at = at;
    svg.append(point.node);
  }
  svg.addEventListener("click", (event) => {
    const box = svg.getBoundingClientRect();
    const [px, py] = [((event.clientX - box.left) / box.width) * WIDTH, ((event.clientY - box.top) / box.height) * HEIGHT];
    const away = ({ at }) => Math.hypot(at.cx - px, at.cy - py);
    const { run, policy } = points.reduce((nearest, point) => (away(point) < away(nearest) ? point : nearest));
    onPick([{ run, policy }]);
  });
  const key = (run) => draw("svg", { class: "line-key", viewBox: "0 0 30 8", "aria-hidden": "true" }, draw("path", { class: `curve run-${run + 1}`, d: "M0 4h30" }));
  const here = runs.map(({ name }, run) => ({ name, run })).filter(({ run }) => lines[run].length || points.some((point) => point.run === run));
  const legend = make("p", { class: "legend" }, here.map(({ name, run }) => make("span", {}, key(run), ` ${name}`)));
  return {
    node: make("div", {}, svg, legend),
    mark(policies) {
      for (const { node, run, policy } of points) node.classList.toggle("shown", policies[run] === policy);
    },
  };
}
