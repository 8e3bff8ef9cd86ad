// Under the clips: play and pause, frames, speed, the timeline with the part that is compared.

import { make, setText } from "./dom.js";
import { keycaps, keyShortcuts } from "./keys.js";

/** A button that shows its key; a mouse leaves no focus on it, so that keys go on answering. */
export function keyButton(action, act, attributes, ...children) {
  const button = make(
    "button",
    { type: "button", "data-action": action, "aria-keyshortcuts": keyShortcuts(action), ...attributes },
    ...children,
    keycaps(action),
  );
  button.addEventListener("mousedown", (event) => event.preventDefault());
  button.addEventListener("click", () => {
    if (button.getAttribute("aria-disabled") !== "true") act(action);
  });
  return button;
}

function slider(attributes, onInput, onChange = () => {}) {
  const input = make("input", { type: "range", step: 1, min: 0, ...attributes });
  input.addEventListener("input", () => onInput(Number(input.value)));
  input.addEventListener("change", () => onChange());
  // after a drag the arrows answer again; whoever came here by keyboard stays
  input.addEventListener("pointerup", () => input.blur());
  return input;
}

export class Controls {
  #player;
  #nodes = {};
  #wasPlaying = false;

  /** `act(action)` does what a key would. */
  constructor(player, act, signal) {
    this.#player = player;
    const icon = (name, text) => make("span", { class: "icon", "aria-hidden": "true" }, text);
    const plain = (action, label, text) =>
      keyButton(action, act, { class: "plain", "aria-label": label, title: label }, icon(action, text));
    const n = this.#nodes;
    n.playIcon = icon("play", "▶");
    n.play = keyButton("play", act, { class: "plain play", "aria-label": "Pause" }, n.playIcon);
    n.speed = make("output", { class: "speed", "aria-label": "Speed" });
    n.frame = make("output", { class: "frame" });
    n.scrub = slider({ class: "scrub", "aria-label": "Frame", max: 0 }, (step) => player.scrub(step));
    n.start = slider(
      { class: "trim-start", "aria-label": "Compare from frame", max: 1 },
      (step) => this.#drag(step, player.stop),
      () => this.#drop(),
    );
    n.stop = slider(
      { class: "trim-stop", "aria-label": "Compare up to frame", max: 1 },
      (step) => this.#drag(player.start, step),
      () => this.#drop(),
    );
    n.range = make("output", { class: "range" });
    n.reset = keyButton("trimReset", act, { class: "plain" }, "All");
    n.trim = make(
      "div",
      { class: "trim", role: "group", "aria-label": "Part that is compared" },
      keyButton("trimStart", act, { class: "plain" }, "From"),
      make("div", { class: "trim-track" }, make("div", { class: "band" }), n.start, n.stop),
      keyButton("trimStop", act, { class: "plain" }, "To"),
      n.reset,
      n.range,
    );
    this.node = make(
      "div",
      { class: "controls", role: "group", "aria-label": "Playback of both clips" },
      make(
        "div",
        { class: "transport" },
        plain("back", "One frame back", "⏴"),
        n.play,
        plain("forward", "One frame forward", "⏵"),
        n.scrub,
        n.frame,
        make(
          "span",
          { class: "speeds", role: "group", "aria-label": "Speed" },
          plain("slower", "Slower", "−"),
          n.speed,
          plain("faster", "Faster", "+"),
        ),
      ),
      n.trim,
    );
    player.addEventListener("change", () => this.#show(), { signal });
    this.#show();
  }

  /** Shows trimming or not. */
  allowTrim(allowed) {
    this.#nodes.trim.hidden = !allowed;
  }

  /** The part that is compared, in words; empty where it is all. */
  get trimmed() {
    const { start, stop, length } = this.#player;
    return start === 0 && stop === length ? "" : `frames ${start + 1} to ${stop}`;
  }

  #drag(start, stop) {
    const player = this.#player;
    const moved = start !== player.start ? start : stop - 1;
    if (player.playing) {
      this.#wasPlaying = true;
      player.pause();
    }
    player.setRange(start, stop);
    player.scrub(Math.min(Math.max(moved, player.start), player.stop - 1));
  }

  #drop() {
    if (this.#wasPlaying) {
      this.#player.play();
      this.#player.restart();
    }
    this.#wasPlaying = false;
  }

  #show() {
    const player = this.#player;
    const n = this.#nodes;
    const { length, step, start, stop } = player;
    setText(n.playIcon, player.playing ? "⏸" : "▶");
    n.play.setAttribute("aria-label", player.playing ? "Pause" : "Play");
    setText(n.speed, `${player.speed}×`);
    setText(n.frame, length ? `${step + 1} / ${length}` : "");
    n.scrub.max = Math.max(length - 1, 0);
    n.scrub.value = step;
    n.scrub.setAttribute("aria-valuetext", `frame ${step + 1} of ${length}`);
    for (const handle of [n.start, n.stop]) handle.max = Math.max(length, 1);
    n.start.value = start;
    n.stop.value = stop;
    n.start.setAttribute("aria-valuetext", `from frame ${start + 1}`);
    n.stop.setAttribute("aria-valuetext", `up to frame ${stop}`);
    setText(n.range, this.trimmed || "all frames");
    n.trim.classList.toggle("narrowed", this.trimmed !== "");
    n.trim.style.setProperty("--from", length ? start / length : 0);
    n.trim.style.setProperty("--to", length ? stop / length : 1);
  }
}
