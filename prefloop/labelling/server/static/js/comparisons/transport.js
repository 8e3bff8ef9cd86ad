// Play, pause, frames, speed, starts and checkpoints: buttons, a slider, and keys for all of it.

import { make, setText } from "../common/dom.js";

const numbered = "123456".split("");

/** What keys do; `shown` is how they are written. */
export const KEYS = [
  { keys: [" "], shown: ["space"], help: "play or pause", act: (stage) => stage.player.toggle() },
  { keys: [",", "ArrowLeft"], shown: [",", "←"], help: "one step back", repeats: true, act: (stage) => stage.player.move(-1) },
  { keys: [".", "ArrowRight"], shown: [".", "→"], help: "one step forward", repeats: true, act: (stage) => stage.player.move(1) },
  { keys: ["r"], shown: ["r"], help: "from the beginning", act: (stage) => stage.player.restart() },
  { keys: ["<"], shown: ["<"], help: "play slower", act: (stage) => stage.player.changeSpeed(-1) },
  { keys: [">"], shown: [">"], help: "play faster", act: (stage) => stage.player.changeSpeed(1) },
  { keys: ["p"], shown: ["p"], help: "the episode before", act: (stage) => stage.changeStart(-1) },
  { keys: ["n"], shown: ["n"], help: "the next episode", act: (stage) => stage.changeStart(1) },
  { keys: ["["], shown: ["["], help: "the checkpoints before", act: (stage) => stage.changePolicies(-1) },
  { keys: ["]"], shown: ["]"], help: "the next checkpoints", act: (stage) => stage.changePolicies(1) },
  { keys: numbered, shown: ["1", "…", "6"], help: "to the slider of a run, which arrows move", act: (stage, _, key) => stage.panels[Number(key) - 1]?.focus() },
  { keys: ["?"], shown: ["?"], help: "these keys", act: (_, transport) => transport.toggleHelp() },
];

const FACES = { " ": "Play", ",": "\u2039 Step", ".": "Step \u203a", r: "Restart", "<": "Slower", ">": "Faster", p: "\u2039", n: "\u203a", "[": "\u2039", "]": "\u203a" };

export class Transport {
  node;
  #stage;
  #play;
  #scrub = make("input", { type: "range", class: "scrub", min: 0, step: 1, "aria-label": "Step" });
  #step = make("span", { class: "readout frame" }); // no output: it would be read aloud all the time
  #speed = make("output", { class: "readout speed", "aria-label": "Speed" });
  #start = make("output", { class: "readout start", "aria-label": "Episode" });
  #help;

  constructor(stage) {
    this.#stage = stage;
    this.#play = this.#button(" ");
    this.#scrub.addEventListener("input", () => stage.player.scrub(Number(this.#scrub.value)));
    this.#scrub.addEventListener("pointerup", () => this.#scrub.blur()); // after a drag the keys answer again
    const rows = KEYS.map(({ shown, help }) => make("div", {}, make("dt", {}, shown.map((key) => make("kbd", {}, key))), make("dd", {}, help)));
    this.#help = make("details", { class: "help" }, make("summary", {}, "Keys"), make("dl", {}, rows));
    const group = (label, ...nodes) => make("span", { class: "group", role: "group", "aria-label": label }, nodes);
    const starts = stage.starts > 1 ? group("Episode", this.#button("p"), this.#start, this.#button("n")) : null;
    const several = stage.panels.some(({ last }) => last > 0);
    const checkpoints = several ? group("Checkpoints", this.#button("["), make("span", { class: "readout" }, "checkpoints"), this.#button("]")) : null;
    this.node = make(
      "section", { class: "transport", "aria-label": "Playing" },
      group("Playing", this.#button("r"), this.#button(","), this.#play, this.#button(".")),
      this.#scrub, this.#step,
      group("Speed", this.#button("<"), this.#speed, this.#button(">")),
      starts, checkpoints, this.#help,
    );
    stage.player.addEventListener("change", () => this.#show());
    stage.addEventListener("change", () => this.#show());
    this.#show();
  }

  toggleHelp() {
    this.#help.open = !this.#help.open;
  }

  #button(key) {
    const { help, act } = KEYS.find(({ keys }) => keys.includes(key));
    const name = key === " " ? "Play" : help[0].toUpperCase() + help.slice(1);
    const button = make("button", { type: "button", "data-key": key, "aria-label": name, title: `${help} (${key === " " ? "space" : key})`, "aria-keyshortcuts": key === " " ? "Space" : key }, FACES[key]);
    button.addEventListener("mousedown", (event) => event.preventDefault()); // keys go on answering
    button.addEventListener("click", () => act(this.#stage, this));
    return button;
  }

  #show() {
    const { player, start, starts } = this.#stage;
    const { length, step, playing, speed } = player;
    setText(this.#play, playing ? "Pause" : "Play");
    this.#play.setAttribute("aria-label", playing ? "Pause" : "Play");
    setText(this.#step, length ? `step ${step + 1} of ${length}` : "");
    setText(this.#speed, `${speed}×`);
    setText(this.#start, `episode ${start + 1} of ${starts}`);
    this.#scrub.max = Math.max(length - 1, 0);
    this.#scrub.value = step;
    if (!playing) this.#scrub.setAttribute("aria-valuetext", `step ${step + 1}`);
  }
}
