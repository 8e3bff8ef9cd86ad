// Small charts, drawn as SVG with the page's own colours.

import { count, draw, make } from "../common/dom.js";

const HEIGHT = 200;
const EDGE = { left: 44, right: 12, top: 12, bottom: 26 };

/** A step that gives at most `most` round numbers up to `highest`. */
function roundStep(highest, most) {
  const raw = Math.max(highest / most, 1e-9);
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= raw);
}

function timeText(milliseconds, span) {
  const time = new Date(milliseconds);
  return span > 36 * 3600e3
    ? time.toLocaleDateString("en-GB", { day: "numeric", month: "short" })
    : time.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", ...(span < 300e3 && { second: "2-digit" }) });
}

/**
 * How many labels there were when; points of {time, labels}; `width` in pixels.
 * `curves` are those of annotators, a line each: {annotator, points}.
 */
export function labelsOverTime(points, width, curves = []) {
  const times = points.map((point) => Date.parse(point.time));
  const first = times[0];
  const span = Math.max(times.at(-1) - first, 1000);
  const most = points.at(-1).labels;
  const step = Math.max(roundStep(most, 4), 1);
  const top = Math.ceil(most / step) * step;
  const x = (time) => EDGE.left + ((time - first) / span) * (width - EDGE.left - EDGE.right);
  const y = (labels) => HEIGHT - EDGE.bottom - (labels / top) * (HEIGHT - EDGE.top - EDGE.bottom);
  const chart = draw("svg", {
    class: "chart", viewBox: `0 0 ${width} ${HEIGHT}`, role: "img",
    "aria-label": `${count(most, "label")} from ${timeText(first, span)} to ${timeText(times.at(-1), span)}`,
  });
  for (let labels = 0; labels <= top; labels += step) {
    chart.append(
      draw("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(labels), y2: y(labels) }),
      draw("text", { class: "tick", x: EDGE.left - 8, y: y(labels) + 4, "text-anchor": "end" }, String(labels)),
    );
  }
  for (const [share, anchor] of [[0, "start"], [0.5, "middle"], [1, "end"]]) {
    const time = first + share * span;
    chart.append(draw("text", { class: "tick", x: x(time), y: HEIGHT - 6, "text-anchor": anchor }, timeText(time, span)));
  }
  const line = points.map((point, i) => `${x(times[i]).toFixed(1)},${y(point.labels).toFixed(1)}`);
  const base = y(0);
  chart.append(
    draw("polygon", { class: "area", points: `${x(first)},${base} ${line.join(" ")} ${x(times.at(-1))},${base}` }),
    draw("polyline", { class: "line", points: line.join(" ") }),
  );
  curves.forEach((curve, i) => {
    const places = curve.points.map((point) => `${x(Date.parse(point.time)).toFixed(1)},${y(point.labels).toFixed(1)}`);
    const end = `${x(times.at(-1)).toFixed(1)},${y(curve.points.at(-1).labels).toFixed(1)}`;
    chart.append(draw("polyline", { class: `line own line-${i + 1}`, points: [...places, end].join(" ") }));
  });
  if (points.length <= 60) {
    points.forEach((point, i) => {
      const said = `${count(point.labels, "label")} at ${timeText(times[i], span)}`;
      chart.append(draw("circle", { class: "dot", cx: x(times[i]), cy: y(point.labels), r: 2.5 }, draw("title", {}, said)));
    });
  }
  return chart;
}

/** Which line of `labelsOverTime` is whose. */
export function lineLegend(curves) {
  const entry = (kind, name) =>
    make("span", {}, draw("svg", { class: "line-key", viewBox: "0 0 30 8", "aria-hidden": "true" }, draw("path", { class: `line ${kind}`, d: "M0 4h30" })), name);
  const own = curves.map(({ annotator }, i) => entry(`own line-${i + 1}`, annotator));
  return make("p", { class: "legend" }, entry("", "together"), own);
}

/** A stretch for each row: {name, low, median, high, text}; all on the same scale, from 0. */
export function ranges(rows, label) {
  const most = Math.max(...rows.map((row) => row.high ?? 0), 1e-9);
  return named(rows, label, ({ low, median, high }) => {
    if (median === null) return [];
    const x = (value) => (100 * value) / most;
    return [
      draw("rect", { class: "part spread", x: x(low), y: 0, width: Math.max(x(high) - x(low), 0.5), height: 10 }),
      draw("rect", { class: "part median", x: Math.min(Math.max(x(median) - 0.5, 0), 99), y: 0, width: 1, height: 10 }),
    ];
  });
}

/** An interval for each row: {name, low, value, high, text}; all on the same scale, with a line at 0. */
export function intervals(rows, label) {
  const lowest = Math.min(0, ...rows.map((row) => row.low));
  const highest = Math.max(0, ...rows.map((row) => row.high));
  const x = (value) => (100 * (value - lowest)) / Math.max(highest - lowest, 1e-9);
  const at = (kind, value, width) =>
    draw("rect", { class: `part ${kind}`, x: Math.min(Math.max(x(value) - width / 2, 0), 100 - width), y: 0, width, height: 10 });
  return named(rows, label, ({ low, value, high }) => [
    at("zero", 0, 0.3),
    draw("rect", { class: "part spread", x: x(low), y: 2, width: Math.max(x(high) - x(low), 0.5), height: 6 }),
    at("median", value, 1),
  ]);
}

/** A bar for each row: {name, parts: [{kind, value}], text}; all on the same scale. */
export function bars(rows, label) {
  const total = (row) => row.parts.reduce((sum, part) => sum + part.value, 0);
  const most = Math.max(...rows.map(total), 1e-9);
  return named(rows, label, ({ parts }) => {
    let from = 0;
    return parts.map(({ kind, value }) => {
      const width = (100 * value) / most;
      from += width;
      return width > 0 ? draw("rect", { class: `part ${kind}`, x: from - width, y: 0, width, height: 10 }) : null;
    });
  });
}

/** Rows of a name, what `fill` draws of 100 by 10, and a text. */
function named(rows, label, fill) {
  return make(
    "div",
    { class: "bars", role: "group", "aria-label": label },
    rows.map((row) =>
      make(
        "div",
        { class: "bar-row" },
        make("span", { class: "bar-name" }, row.name),
        draw("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, fill(row)),
        make("span", { class: "bar-text" }, row.text),
      ),
    ),
  );
}
