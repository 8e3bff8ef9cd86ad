// All clips, small and sorted; a video is loaded when it comes into sight.

import { make } from "../common/dom.js";
import { figure, policyName } from "./panel.js";

// by name, how two clips compare; what is alike stays in the order of runs, policies and starts
const ORDERS = {
  "return, highest first": (a, b) => b.clip.return - a.clip.return,
  "return, lowest first": (a, b) => a.clip.return - b.clip.return,
  "episode": (a, b) => a.start - b.start,
  "step, latest first": (a, b) => when(b) - when(a),
  "step, earliest first": (a, b) => when(a) - when(b),
};

/** When a policy came about: by steps, or else by rows of metrics.csv. */
const when = ({ shown }) => shown.steps ?? shown.number ?? Infinity;

export class Gallery {
  node;
  #list = make("ol", { class: "gallery" });
  #cards;
  #address;

  /** `onPick` is called with the place of a clip, {run, policy, start}; `address` is as the stage has it. */
  constructor({ runs }, address, onPick) {
    this.#address = address;
    this.#cards = runs.flatMap(({ name, policies }, run) =>
      policies.flatMap((shown, policy) =>
        shown.clips.map((clip, start) => ({ clip, start, shown, node: card(name, shown, clip, run, start, () => onPick({ run, policy, start })) }))));
    const select = make("select", { id: "order" }, Object.keys(ORDERS).map((name) => make("option", {}, name)));
    select.addEventListener("change", () => this.#sort(select.value));
    this.node = make(
      "section", { "aria-labelledby": "gallery-title" },
      make("h2", { id: "gallery-title" }, `All ${this.#cards.length} clips`),
      make("p", {}, make("label", { for: "order" }, "Sorted by "), select),
      this.#list,
    );
    this.#sort(select.value);
    this.#loadInSight();
  }

  #sort(order) {
    const sorted = [...this.#cards].sort(ORDERS[order]);
    this.#list.replaceChildren(...sorted.map(({ node }) => node));
  }

  #loadInSight() {
    const observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        observer.unobserve(target);
        const video = target.querySelector("video");
        this.#load(video);
      }
    });
    for (const { node } of this.#cards) observer.observe(node);
  }

  async #load(video) {
    try {
      video.src = await this.#address(video.dataset.src);
      video.preload = "metadata";
    } catch {
      // one that is gone has no picture; whoever plays it is told
    }
  }
}

function card(name, shown, clip, run, start, onPick) {
  const video = make("video", { preload: "none", playsinline: true, tabindex: "-1", "aria-hidden": "true", "data-src": clip.video });
  video.muted = true;
  const said = `${name}, ${policyName(shown)}, episode ${start + 1}`;
  const button = make(
    "button", { type: "button", onclick: onPick },
    video,
    make("span", { class: "title" }, make("i", { class: "swatch", "aria-hidden": "true" }), make("b", {}, figure(clip.return)), ` ${said}`),
  );
  return make("li", { class: `run-${run + 1}` }, button);
}
