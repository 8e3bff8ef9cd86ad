// One run on the stage: a clip of one of its policies, which can be chosen, and the reward of each step.

import { make, setText } from "../common/dom.js";
import { RewardTrace } from "../common/rewardtrace.js";
import { VideoClip } from "../common/video.js";

const written = (value, digits) => value.toLocaleString("en", digits).replace("-", "\u2212");

/** Digits after the point that anybody reads of numbers so large. */
function digitsOf(values) {
  const largest = Math.max(...values.map(Math.abs));
  return largest >= 100 || values.every(Number.isInteger) ? 0 : largest >= 1 ? 1 : 3;
}

/** A number as it is, with its sign. */
export function figure(value) {
  return written(value, { maximumFractionDigits: digitsOf([value]) });
}

/** A mean and its interval, where it has one. */
export function withInterval({ mean, low, high }) {
  if (low === null) return figure(mean);
  const digits = digitsOf([mean, low, high]);
  const shown = [mean, low, high].map((value) => written(value, { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  return `${shown[0]} [${shown[1]}, ${shown[2]}]`;
}

/** Which policy of a run it is, in words. */
export function policyName({ file, number, steps, labels }) {
  const name = file === "final_policy.params" || number === null ? file.replace(/\.params$/, "").replace("final_policy", "the last policy") : `checkpoint ${number}`;
  const when = [steps !== null && `${figure(steps)} steps`, labels !== null && `${figure(labels)} labels`].filter(Boolean);
  return when.length ? `${name}, ${when.join(", ")}` : name;
}

export class Panel {
  node;
  policy;
  last;
  #run;
  #address;
  #go;
  #clip = null;
  #trace = null;
  #screen = make("div", { class: "screen" });
  #slider;
  #which = make("output", { class: "which" });
  #returns = make("p", { class: "returns" });
  #reward = make("div");

  /** `on` is what is to be done: `policy` was chosen, go to a `step`; `address` is as the stage has it. */
  constructor(run, number, address, on) {
    this.#run = run;
    this.#address = address;
    this.#go = on.step;
    this.last = run.policies.length - 1;
    this.policy = this.last;
    this.#slider = make("input", { type: "range", min: 0, max: this.last, step: 1, "aria-label": `Checkpoint of ${run.name}` });
    this.#slider.addEventListener("input", () => on.policy(Number(this.#slider.value)));
    this.#slider.disabled = this.last === 0;
    this.node = make(
      "figure", { class: `panel run-${number + 1}` },
      make("figcaption", {}, make("h2", {}, make("i", { class: "swatch", "aria-hidden": "true" }), run.name), make("span", { class: "faint" }, run.program)),
      this.#screen,
      make("div", { class: "checkpoint" }, this.#slider, this.#which),
      this.#returns,
      this.#reward,
    );
  }

  /** The clip of the policy that is chosen, from a start. */
  clipAt(start) {
    return this.#run.policies[this.policy].clips[start];
  }

  focus() {
    this.#slider.focus();
  }

  /** Puts the chosen policy's clip on the screen; resolves when it can be played, or to null if it can't. */
  async put(start, ranges) {
    const policy = this.#run.policies[this.policy];
    const shown = policy.clips[start];
    const label = `${this.#run.name}, ${policyName(policy)}`;
    this.#slider.value = this.policy;
    this.#slider.setAttribute("aria-valuetext", policyName(policy));
    setText(this.#which, policyName(policy));
    const end = shown.terminated ? "ended" : "cut";
    const own = make("b", {}, figure(shown.return));
    this.#returns.replaceChildren("Return ", own, ` in this episode (${end} after ${figure(shown.steps)} steps); mean ${withInterval(policy)}`);
    this.node.dataset.video = shown.video;
    this.#trace = new RewardTrace(shown.reward, ranges, `Reward of each step of ${this.#run.name}`, this.#go);
    this.#reward.replaceChildren(this.#trace.node);
    const clip = new VideoClip(this.#address(shown.video), shown.steps, label, shown.steps_a_frame);
    this.#screen.replaceChildren(clip.node);
    this.#clip?.node.removeAttribute("src"); // or else it is kept until somebody collects it
    this.#clip = clip;
    try {
      await clip.ready;
      return clip;
    } catch (error) {
      if (this.#clip === clip) this.#screen.replaceChildren(error.message);
      return null;
    }
  }

  /** Puts the cursor under the clip on a step. */
  show(step) {
    this.#trace?.show(step);
  }
}
