// The hardest pairs, step by step: curves, a clip if there is one, and one cursor for all of them.
"use strict";

const WIDTH = 480;
const EDGE = 4;
const HEAD = 18; // above the curves, for their name and range

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const short = (value) => String(Number(value.toPrecision(3)));

/** A picture of a curve over steps, with a band of {lowest, highest} if there is one; `range` is [low, high]. */
function chart({ name, kind, height, steps, values, band, range: [low, high], onStep }) {
  const spread = high - low || 1;
  const x = (step) => EDGE + (step / Math.max(steps - 1, 1)) * (WIDTH - 2 * EDGE);
  const y = (value) => height - EDGE - ((value - low) / spread) * (height - HEAD - EDGE);
  const points = (list) => list.map((value, step) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`);
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": name });
  svg.append(draw("rect", { class: "frame", x: 0.5, y: 0.5, width: WIDTH - 1, height: height - 1 }));
  if (low < 0 && high > 0) svg.append(draw("line", { class: "zero", x1: 0, x2: WIDTH, y1: y(0), y2: y(0) }));
  if (band) {
    const outline = [...points(band.highest), ...points(band.lowest).reverse()];
    svg.append(draw("polygon", { class: "band", points: outline.join(" ") }));
  }
  svg.append(
    draw("polyline", { class: kind, points: points(values).join(" ") }),
    draw("text", { x: 8, y: 13 }, name),
    draw("text", { x: WIDTH - 8, y: 13, "text-anchor": "end" }, `${short(low)} to ${short(high)}`),
  );
  const cursor = draw("line", { class: "cursor", y1: 0, y2: height });
  svg.append(cursor);
  const stepAt = (event) => {
    const box = svg.getBoundingClientRect();
    const share = ((event.clientX - box.left) / box.width * WIDTH - EDGE) / (WIDTH - 2 * EDGE);
    onStep(Math.round(Math.min(Math.max(share, 0), 1) * (steps - 1)));
  };
  svg.addEventListener("pointerdown", stepAt);
  svg.addEventListener("pointermove", (event) => event.buttons && stepAt(event));
  return {
    svg,
    show(step) {
      const at = x(Math.min(step, steps - 1));
      cursor.setAttribute("x1", at);
      cursor.setAttribute("x2", at);
    },
  };
}

/** What stands in the charts of one side: {name, kind, height, values, band}. */
const curves = (side) => [
  { name: "learned reward, and its members", kind: "learned", height: 140, values: side.learned, band: side },
  ...(side.true ? [{ name: "true reward", kind: "true", height: 80, values: side.true }] : []),
  ...Object.entries(side.inputs).map(([name, values]) => ({ name, kind: "input", height: 60, values })),
];

/** Lowest and highest of each curve over both sides, so that they can be compared. */
function ranges(sides) {
  const all = sides.map(curves);
  return all[0].map((_, i) => {
    const values = all.flatMap((side) => [...side[i].values, ...(side[i].band ? [...side[i].band.lowest, ...side[i].band.highest] : [])]);
    return [Math.min(...values), Math.max(...values)];
  });
}

function verdict(pair) {
  const percent = Math.round(100 * (pair.label < 0.5 ? 1 - pair.predicted : pair.predicted));
  const said = pair.label === 0.5 ? "a tie" : `${pair.label < 0.5 ? "the first" : "the second"} was preferred`;
  const sure = pair.label === 0.5 ? `; to the second the reward gave ${percent} %` : `; to that the reward gave ${percent} %`;
  const facts = [pair.who && `by ${pair.who}`, pair.iteration !== null && `iteration ${pair.iteration}`, pair.held_out ? "not learned from" : "learned from"];
  return `Answer ${pair.answer}: ${said}${sure} (${facts.filter(Boolean).join(", ")})`;
}

function show(pair) {
  const lengths = pair.sides.map((side) => side.learned.length);
  const longest = Math.max(...lengths);
  const slider = make("input", { type: "range", min: 0, max: longest - 1, value: 0, "aria-label": `Step of answer ${pair.answer}` });
  const charts = [], captions = [], range = ranges(pair.sides);
  const clip = pair.clip ? make("video", { src: pair.clip, preload: "auto", muted: "", playsinline: "" }) : null;
  const play = make("button", { type: "button" }, "Play");

  const go = (step, seek = true) => {
    slider.value = step;
    slider.setAttribute("aria-valuetext", `step ${step + 1}`);
    charts.forEach((one) => one.show(step));
    captions.forEach((caption) => caption(step));
    if (seek && clip && clip.duration) {
      clip.pause();
      clip.currentTime = Math.min((step + 0.5) / longest, 0.9999) * clip.duration;
    }
  };

  const figures = pair.sides.map((side, i) => {
    const steps = lengths[i];
    const caption = make("figcaption");
    captions.push((step) => {
      const at = Math.min(step, steps - 1);
      caption.replaceChildren(
        make("strong", {}, i ? "second" : "first"),
        side.true ? `, true return ${short(side.return)}.` : ".",
        ` Step ${at + 1}: learned ${short(side.learned[at])}`,
        side.true ? `, true ${short(side.true[at])}` : "",
      );
    });
    const rows = curves(side).map((row, j) => chart({ ...row, steps, range: range[j], onStep: go }));
    charts.push(...rows);
    return make("figure", {}, caption, ...rows.map((row) => row.svg));
  });

  if (clip) {
    const follow = () => {
      if (clip.duration) go(Math.min(Math.floor((clip.currentTime / clip.duration) * longest), longest - 1), false);
      if (!clip.paused) requestAnimationFrame(follow);
    };
    clip.addEventListener("play", follow);
    for (const event of ["play", "pause", "ended"]) {
      clip.addEventListener(event, () => { play.textContent = clip.paused ? "Play" : "Pause"; });
    }
    play.addEventListener("click", () => (clip.paused ? clip.play() : clip.pause()));
  }
  slider.addEventListener("input", () => go(Number(slider.value)));
  go(0, false);
  return make("section", { class: "pair" }, make("h3", {}, verdict(pair)), ...(clip ? [clip] : []), make("div", { class: "transport" }, ...(clip ? [play] : []), slider), make("div", { class: "sides" }, ...figures));
}

document.getElementById("pairs").append(...JSON.parse(document.getElementById("data").textContent).map(show));
