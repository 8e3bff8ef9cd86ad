// The clips that are shown now: a panel for each run, all from the same start, and one player for them.

import { beginningSpeed, calm, Player } from "../common/player.js";
import { make } from "../common/dom.js";
import { rewardRanges } from "../common/rewardtrace.js";
import { Panel } from "./panel.js";

/** Tells "change" when other clips are shown. */
export class Stage extends EventTarget {
  node = make("section", { class: "panels", "aria-label": "Clips in step" });
  player = new Player();
  panels;
  start = 0; // which of the starts
  starts; // how many there are
  #turn = 0; // counts what was asked for: what was begun before the newest is stale

  /** `address(video)` is, or resolves to, what a <video> can play. */
  constructor({ runs }, address) {
    super();
    this.starts = runs[0].policies[0].clips.length;
    this.panels = runs.map((run, number) => new Panel(run, number, address, {
      policy: (policy) => {
        this.panels[number].policy = policy;
        this.#change();
      },
      step: (step) => this.player.scrub(step),
    }));
    this.node.append(...this.panels.map((panel) => panel.node));
    this.player.addEventListener("change", () => {
      if (this.player.clips.length) for (const panel of this.panels) panel.show(this.player.step);
    });
  }

  /** Shows the last policies from the first start. */
  async begin() {
    await this.#load(false);
    this.player.setSpeed(beginningSpeed(1, this.player.clips));
    if (!calm()) this.player.play();
  }

  /** Plays nothing more. */
  end() {
    this.#turn += 1;
    this.player.hide();
  }

  /** Which policy of each run is shown. */
  get policies() {
    return this.panels.map((panel) => panel.policy);
  }

  /** Plays a policy of a run, or some of several: places are {run, policy, start}, of which the last may be missing. */
  put(...places) {
    for (const { run, policy, start } of places) {
      this.panels[run].policy = policy;
      this.start = start ?? this.start;
    }
    this.#load(true);
  }

  /** Goes to another start, round. */
  changeStart(by) {
    this.start = (this.start + by + this.starts) % this.starts;
    this.#load(this.player.playing);
  }

  /** Goes a checkpoint on or back, in all runs as far as they have one. */
  changePolicies(by) {
    for (const panel of this.panels) {
      panel.policy = Math.min(Math.max(panel.policy + by, 0), panel.last);
    }
    this.#change();
  }

  /** Other policies in the place of those that were shown: what plays goes on playing, what stands stays at its step. */
  #change() {
    const { playing, step } = this.player;
    this.#load(playing, playing ? 0 : step);
  }

  async #load(playing, step = 0) {
    const turn = ++this.#turn;
    this.node.setAttribute("aria-busy", "true");
    const ranges = rewardRanges(this.panels.map((panel) => panel.clipAt(this.start).reward));
    const loading = this.panels.map((panel) => panel.put(this.start, ranges));
    this.dispatchEvent(new Event("change"));
    const clips = (await Promise.all(loading)).filter((clip) => clip !== null);
    if (turn !== this.#turn) return;
    this.node.removeAttribute("aria-busy");
    if (!clips.length) {
      this.player.hide();
      return;
    }
    const shown = this.player.show(clips, playing);
    if (step > 0) this.player.scrub(Math.min(step, this.player.length - 1));
    await shown;
  }
}
