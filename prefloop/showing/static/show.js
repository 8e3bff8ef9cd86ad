// Policies side by side: clips in step, what each was paid, returns on the way, and all clips, sorted.

import { draw, make } from "./dom.js";
import { Gallery } from "./gallery.js";
import { isTaken } from "./keys.js";
import { returnChart } from "./returnchart.js";
import { Stage } from "./stage.js";
import { KEYS, Transport } from "./transport.js";

const data = JSON.parse(document.getElementById("data").textContent);
const main = document.getElementById("main");
const stage = new Stage(data);
const transport = new Transport(stage);
const gallery = new Gallery(data, (place) => {
  stage.put(place);
  stage.node.scrollIntoView({ block: "start" });
});

function facts() {
  const greedy = new Set(data.runs.flatMap(({ policies }) => policies.map((policy) => policy.greedy)));
  const how = greedy.size > 1 ? "mean actions where a policy is judged by them, drawn ones elsewhere" : greedy.has(true) ? "most probable or mean actions" : "drawn actions";
  return make("p", { class: "faint" }, `Each episode begins alike for all policies (seed ${data.seed}); ${how}. Returns are the environment's own, means of ${data.episodes} episodes with a 95 % interval${data.cut === null ? "" : `, cut after ${data.cut} steps (the lines below are not)`}.`);
}

function rewardLegend() {
  const learned = data.runs.some((run) => run.learned);
  const line = (kind) => draw("svg", { class: "line-key", viewBox: "0 0 30 8", "aria-hidden": "true" }, draw("path", { class: kind, d: "M0 4h30" }));
  return make(
    "p", { class: "legend faint" },
    make("span", {}, "Under each clip the reward of each step; a click goes there:"),
    learned ? make("span", {}, line("reward-learned"), "what the run has learned in the end, and its ensemble") : null,
    make("span", {}, line("reward-true"), "the environment's own, on a scale of its own"),
  );
}

/** Charts of what there is: steps, labels. */
function charts() {
  const kinds = { steps: "Return against steps", labels: "Return against labels" };
  const found = Object.entries(kinds).map(([along, title]) => [title, returnChart(data.runs, along, (places) => stage.put(...places))]);
  const drawn = found.filter(([, chart]) => chart !== null);
  stage.addEventListener("change", () => drawn.forEach(([, chart]) => chart.mark(stage.policies)));
  if (!drawn.length) return null;
  const nodes = drawn.map(([title, chart]) => make("figure", {}, make("figcaption", {}, title), chart.node));
  return make(
    "section", { class: "charts", "aria-labelledby": "charts-title" },
    make("h2", { id: "charts-title" }, "On the way"),
    make("p", { class: "faint" }, "Lines are what each run noted while it learned; points are the policies that are shown here, with their intervals. A click plays the nearest one."),
    make("div", { class: "chart-row" }, nodes),
  );
}

main.querySelector("noscript")?.remove();
main.append(...[facts(), stage.node, transport.node, rewardLegend(), charts(), gallery.node].filter((node) => node !== null));
window.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTaken(event.target, event.key)) return;
  const key = KEYS.find(({ keys }) => keys.includes(event.key));
  if (!key || (event.repeat && !key.repeats)) return;
  event.preventDefault();
  key.act(stage, transport, event.key);
});
stage.begin();
