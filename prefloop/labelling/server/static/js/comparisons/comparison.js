// Policies side by side: clips in step, what each was paid, returns on the way, and all clips, sorted.
//
// Both the labelling page and the folder that `prefloop show` writes show it (showing/page.py).

import { draw, make } from "../common/dom.js";
import { isTaken, keyOf } from "../common/keys.js";
import { Gallery } from "./gallery.js";
import { returnChart } from "./returnchart.js";
import { Stage } from "./stage.js";
import { KEYS, Transport } from "./transport.js";

function facts(data) {
  const greedy = new Set(data.runs.flatMap(({ policies }) => policies.map((policy) => policy.greedy)));
  const how = greedy.size > 1 ? "mean actions where a policy is judged by them, drawn ones elsewhere" : greedy.has(true) ? "most probable or mean actions" : "drawn actions";
  return make("p", { class: "faint" }, `Each episode begins alike for all policies (seed ${data.seed}); ${how}. Returns are the environment's own, means of ${data.episodes} episodes with a 95 % interval${data.cut === null ? "" : `, cut after ${data.cut} steps (the lines below are not)`}.`);
}

function rewardLegend(data) {
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
function charts(data, stage) {
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

/**
 * Shows in a node of class "comparison" what show.json holds.
 *
 * `address(video)` is, or resolves to, what a <video> can play; `signal` ends it.
 */
export function showComparison(node, data, address = (video) => video, signal = undefined) {
  const stage = new Stage(data, address);
  const transport = new Transport(stage);
  const gallery = new Gallery(data, address, (place) => {
    stage.put(place);
    stage.node.scrollIntoView({ block: "start" });
  });
  node.append(...[facts(data), stage.node, transport.node, rewardLegend(data), charts(data, stage), gallery.node].filter((part) => part !== null));
  const pressed = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTaken(event.target, event.key)) return;
    if (document.querySelector("dialog[open]")) return;
    const key = KEYS.find(({ keys }) => keys.includes(keyOf(event)));
    if (!key || (event.repeat && !key.repeats)) return;
    event.preventDefault();
    key.act(stage, transport, event.key);
  };
  window.addEventListener("keydown", pressed, { signal });
  signal?.addEventListener("abort", () => stage.end());
  stage.begin();
}
