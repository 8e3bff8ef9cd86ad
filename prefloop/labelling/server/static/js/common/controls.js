// Under the clips: play and pause, frames, speed, the timeline with the part that is compared.

import { draw, make, setText } from "./dom.js";
import { keycaps, keyShortcuts } from "./keys.js";
import { say } from "./say.js";
import { numberText, word } from "./words.js";

// drawn, since few systems have letters for these
const ICONS = {
  play: "M5 3l9 5-9 5z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  back: "M3 3h2v10H3zM13 3v10L6 8z",
  forward: "M11 3h2v10h-2zM3 3v10l7-5z",
  slower: "M3 7h10v2H3z",
  faster: "M3 7h4V3h2v4h4v2H9v4H7V9H3z",
};

function icon(name) {
  const path = draw("path", { d: ICONS[name] });
  return draw("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, path);
}

/** The steps from `start` up to but without `stop`, in words. */
export function framesText(start, stop) {
  return word(stop - start === 1 ? "oneFrame" : "frames", { start: start + 1, stop });
}

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
  #isAllowed = true;
  #isOpen = false; // what trims

  constructor(player, signal) {
    this.#player = player;
    const act = (action) => this.act(action);
    const plain = (action, label) =>
      keyButton(action, act, { class: "plain", "aria-label": label, title: label }, icon(action));
    const n = this.#nodes;
    n.playIcon = icon("pause");
    n.play = keyButton("play", act, { class: "plain play", "aria-label": word("halt") }, n.playIcon);
    n.speed = make("output", { class: "readout speed", "aria-label": word("speed") });
    n.frame = make("span", { class: "readout frame" }); // no output: it would be read aloud all the time
    n.scrub = slider({ class: "scrub", "aria-label": word("frame"), max: 0 }, (step) => player.scrub(step));
    n.start = slider(
      { class: "trim-start", "aria-label": word("fromFrame"), max: 1 },
      (step) => this.#drag(step, player.stop),
      () => this.#drop(),
    );
    n.stop = slider(
      { class: "trim-stop", "aria-label": word("toFrame"), max: 1 },
      (step) => this.#drag(player.start, step),
      () => this.#drop(),
    );
    n.part = make("span", {}, word("part"));
    n.fold = make("button", { type: "button", class: "plain fold", onclick: () => this.#unfold(!this.#isOpen) }, n.part);
    n.fold.addEventListener("mousedown", (event) => event.preventDefault()); // keys go on answering
    n.more = make("span", { class: "group more" }, n.fold);
    n.range = make("output", { class: "readout range" });
    n.reset = keyButton("trimReset", act, { class: "plain" }, word("allFrames"));
    n.trim = make(
      "div",
      { class: "row trim", role: "group", "aria-label": word("trimmedPart") },
      make("span", { class: "group" },
        keyButton("trimStart", act, { class: "plain", title: word("fromHere") }, word("from")),
        keyButton("trimStop", act, { class: "plain", title: word("toHere") }, word("to"))),
      make("div", { class: "trim-track" }, make("div", { class: "band" }), n.start, n.stop),
      n.range,
      n.reset,
    );
    this.node = make(
      "div",
      { class: "controls", role: "group", "aria-label": word("playback") },
      make(
        "div",
        { class: "row" },
        make("span", { class: "group" }, plain("back", word("back")), n.play, plain("forward", word("forward"))),
        n.scrub,
        n.frame,
        make(
          "span",
          { class: "group speeds", role: "group", "aria-label": word("speed") },
          plain("slower", word("slower")),
          n.speed,
          plain("faster", word("faster")),
        ),
        n.more,
      ),
      n.trim,
    );
    player.addEventListener("change", () => this.#show(), { signal });
    this.#unfold(false);
  }

  /** Does what a key or a button asks for. */
  act(action) {
    const player = this.#player;
    if (action === "play") player.toggle();
    else if (action === "back") player.move(-1);
    else if (action === "forward") player.move(1);
    else if (action === "restart") player.restart();
    else if (action === "slower") player.changeSpeed(-1);
    else if (action === "faster") player.changeSpeed(1);
    else if (this.#isAllowed) this.#trim(action);
  }

  #trim(action) {
    const { step, start, stop, length } = this.#player;
    if (action === "trimStart") this.#player.setRange(step, Math.max(stop, step + 1));
    else if (action === "trimStop") this.#player.setRange(Math.min(start, step), step + 1);
    else this.#player.setRange(0, length);
    if (action !== "trimReset") this.#unfold(true);
    say(this.trimmed ? word("nowComparing", { part: this.trimmed }) : word("nowComparingAll"));
  }

  /** Puts a button beside those that are there. */
  add(button) {
    this.#nodes.more.append(button);
  }

  /** Offers trimming or not. */
  allowTrim(allowed) {
    if (allowed === this.#isAllowed) return;
    this.#isAllowed = allowed;
    this.#show();
  }

  /** Compares only the steps from `start` up to but without `stop`, and goes there. */
  narrow({ start, stop }) {
    this.#player.setRange(start, stop);
    this.#player.restart();
    this.#unfold(true);
  }

  /** Shows what trims, or folds it away until it is wanted; what is compared stays as it is. */
  #unfold(open) {
    this.#isOpen = open;
    this.#show();
  }

  /** The part that is compared, in words; empty where it is all. */
  get trimmed() {
    const { start, stop, length } = this.#player;
    return start === 0 && stop === length ? "" : framesText(start, stop);
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
    n.playIcon.firstChild.setAttribute("d", ICONS[player.playing ? "pause" : "play"]);
    n.play.setAttribute("aria-label", word(player.playing ? "halt" : "play"));
    setText(n.speed, `${numberText(player.speed)}×`);
    setText(n.frame, length ? `${step + 1} / ${length}` : "");
    n.scrub.max = Math.max(length - 1, 0);
    n.scrub.value = step;
    if (!player.playing) n.scrub.setAttribute("aria-valuetext", word("frameOf", { step: step + 1, of: length }));
    for (const handle of [n.start, n.stop]) handle.max = Math.max(length, 1);
    n.start.value = start;
    n.stop.value = stop;
    n.start.setAttribute("aria-valuetext", word("fromFrameAt", { step: start + 1 }));
    n.stop.setAttribute("aria-valuetext", word("toFrameAt", { step: stop }));
    n.fold.hidden = !this.#isAllowed;
    n.trim.hidden = !this.#isAllowed || !this.#isOpen;
    n.fold.setAttribute("aria-expanded", String(this.#isOpen));
    // folded away, a part must not be compared unseen
    setText(n.part, this.trimmed && !this.#isOpen ? word("comparing", { part: this.trimmed }) : word("part"));
    n.fold.classList.toggle("narrowed", this.trimmed !== "");
    setText(n.range, this.trimmed || word("allCompared"));
    n.trim.classList.toggle("narrowed", this.trimmed !== "");
    n.trim.style.setProperty("--from", length ? start / length : 0);
    n.trim.style.setProperty("--to", length ? stop / length : 1);
  }
}
