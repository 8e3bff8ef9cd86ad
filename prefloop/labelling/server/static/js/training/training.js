// The training behind a run: what it does now, how the policy looks, and buttons that steer it.

import { attempt, getClip, getTraining, health, repeat, wish } from "../common/api.js";
import { count, make, percent, setText } from "../common/dom.js";
import { mistakeLine, orSay } from "../common/mistake.js";
import { curve } from "./curve.js";

const REFRESH = 2000; // milliseconds
const TELLING = 50; // labels, of which a fifth or so is held out

/** "20 s", "3 min", "2 h": as one says it. */
function inWords(seconds) {
  if (seconds < 100) return `${Math.max(Math.round(seconds), 1)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

const steps = (number) => number.toLocaleString("en");

/** What a trainer does, in a sentence. */
function inSentence(training) {
  const { phase, until, said, is_there: isThere } = training;
  const at = `step ${steps(training.steps)}`;
  if (phase === "ended") return `Training has ended at ${at}${said ? `: ${said}` : ""}.`;
  if (!isThere) return `The training program was last heard of ${inWords(training.heard_seconds)} ago. The command that started it goes on where it was.`;
  if (training.wishes.stop) return "Stopping, and keeping what was learned, when this round is over …";
  if (training.wishes.paused) return `Paused at ${at}.`;
  if (phase === "asking") return "Waiting for your answers.";
  const soon = training.next_pairs === null ? "" : `, the next pairs in about ${inWords(training.next_pairs)}`;
  if (phase === "exploring") return until === null ? "It begins …" : `Exploring, ${steps(training.steps)} of ${steps(until)} steps${soon}.`;
  return `Learning, ${at}${soon}.`;
}

/** How often the reward is right, once there are answers enough to tell: of ten, two are held out. */
function heldOut({ held_out_accuracy: accuracy, labels }) {
  if (accuracy === null) return "";
  if (labels < TELLING) return `from about ${TELLING} on it can be told how often the reward is right`;
  return `the reward is right about ${percent(accuracy)} of those it was not fitted to`;
}

/** What the reward was fitted to, and whether there is more to come. */
function learnedFrom({ labels, labels_left: left }) {
  if (left === 0) return `${count(labels, "label")} learned from; no more are asked for`;
  return labels ? `${count(labels, "label")} learned from` : "nothing learned from labels yet";
}

export class Training {
  node = make("details", { class: "training card", hidden: true });
  #run;
  #said = make("span", { class: "training-said" });
  #facts = make("p", { class: "training-facts" });
  #seen = make("figure", { class: "training-seen", hidden: true });
  #curves = make("div", { class: "training-curves" });
  #buttons = {};
  #mistake = mistakeLine();
  #shown = null; // the video's address on the server
  #source = null; // and here
  #drawn = ""; // the curve
  #training = null;

  /** Follows a run until `signal` says stop. */
  constructor(run, signal) {
    this.#run = run;
    const button = (name, text, title) =>
      (this.#buttons[name] = make("button", { type: "button", title, onclick: () => this.#wish(name) }, text));
    this.node.append(
      make("summary", {}, "Training: ", this.#said),
      make("div", { class: "training-body" }, this.#seen, this.#curves),
      this.#facts,
      make(
        "div",
        { class: "buttons", hidden: true },
        button("pause", "Pause learning", "Learn nothing until you say so"),
        button("go-on", "Go on", "Learn on"),
        button("ask", "Ask me now", "Pairs of what was done up to now, before those that wait"),
        button("stop", "Stop and keep", "End the training; what was learned stays"),
      ),
      this.#mistake,
    );
    signal.addEventListener("abort", () => this.#forgetVideo());
    this.#begin(signal);
  }

  /** Whether there is, or was, any. */
  get isKnown() {
    return this.#training !== null;
  }

  async #begin(signal) {
    const look = async () => {
      const training = await getTraining(this.#run);
      if (!signal.aborted) await this.#show(training);
    };
    repeat(look, REFRESH, signal);
    await attempt(async () => {
      const [{ role }] = await Promise.all([health(), look()]);
      this.node.querySelector(".buttons").hidden = role !== "trainer";
    });
  }

  async #wish(name) {
    await orSay(this.#mistake, async () => this.#show(await wish(this.#run, name)));
  }

  async #show(training) {
    this.#training = training;
    this.node.hidden = training === null;
    if (training === null) return;
    const { wishes, is_there: isThere } = training;
    this.node.dataset.phase = isThere && wishes.paused ? "paused" : training.phase;
    setText(this.#said, inSentence(training));
    const facts = [
      learnedFrom(training),
      heldOut(training),
      training.steps_per_second && isThere ? `${training.steps_per_second.toFixed(0)} steps a second` : "",
    ];
    setText(this.#facts, `${facts.filter(Boolean).join(" · ")}`);
    this.#buttons.pause.hidden = wishes.paused;
    this.#buttons["go-on"].hidden = !wishes.paused;
    for (const node of Object.values(this.#buttons)) node.disabled = !isThere || wishes.stop;
    if (training.labels_left === 0) this.#buttons.ask.disabled = true;
    this.#draw(training.curve);
    await this.#play(training.video_url);
  }

  #draw(points) {
    const drawn = JSON.stringify(points);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.#curves.replaceChildren(
      ...[
        curve(points, "predicted", "Return, as the reward that was learned from you has it"),
        curve(points, "length", "Steps of an episode"),
      ].filter(Boolean),
    );
  }

  async #play(url) {
    if (url === null || url === this.#shown) return;
    const blob = await getClip(url);
    this.#forgetVideo();
    this.#shown = url;
    this.#source = URL.createObjectURL(blob);
    const video = make("video", {
      class: "training-video", src: this.#source, loop: true, autoplay: true, playsinline: true, controls: true,
      "aria-label": "The policy now, from a start that is always the same",
    });
    video.muted = true; // the attribute alone does not count where it was made by a script
    video.addEventListener("pointerup", () => video.blur()); // keys go on answering
    this.#seen.replaceChildren(video, make("figcaption", {}, "The policy now, always from the same start"));
    this.#seen.hidden = false;
  }

  #forgetVideo() {
    if (this.#source !== null) URL.revokeObjectURL(this.#source);
    this.#shown = this.#source = null;
  }
}
