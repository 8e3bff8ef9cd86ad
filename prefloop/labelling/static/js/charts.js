// Small charts, drawn as SVG with the page's own colours.

import { count, draw, make } from "./dom.js";

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

/** How many labels there were when; points of {time, labels}; `width` in pixels. */
export function labelsOverTime(points, width) {
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
  if (points.length <= 60) {
    points.forEach((point, i) => {
      const said = `${count(point.labels, "label")} at ${timeText(times[i], span)}`;
      chart.append(draw("circle", { class: "dot", cx: x(times[i]), cy: y(point.labels), r: 2.5 }, draw("title", {}, said)));
    });
  }
  return chart;
}

/** A bar for each row: {name, parts: [{kind, value}], text}; all on the same scale. */
export function bars(rows, label) {
  const total = (row) => row.parts.reduce((sum, part) => sum + part.value, 0);
  const most = Math.max(...rows.map(total), 1e-9);
  return make(
    "div",
    { class: "bars", role: "group", "aria-label": label },
    rows.map((row) => {
      const bar = draw("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
      let from = 0;
      for (const { kind, value } of row.parts) {
        const width = (100 * value) / most;
        if (width > 0) bar.append(draw("rect", { class: `part ${kind}`, x: from, y: 0, width, height: 10 }));
        from += width;
      }
      return make("div", { class: "bar-row" }, make("span", { class: "bar-name" }, row.name), bar, make("span", { class: "bar-text" }, row.text));
    }),
  );
}
