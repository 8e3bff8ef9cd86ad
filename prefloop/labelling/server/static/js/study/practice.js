// A practice round: pairs that were judged before, and what was said of them.

import { practise, Refused, Unreachable } from "../common/api.js";
import { Controls } from "../common/controls.js";
import { make, setText } from "../common/dom.js";
import { explain, listen } from "../common/keys.js";
import { beginningSpeed, Player } from "../common/player.js";
import { say } from "../common/say.js";
import { word } from "../common/words.js";
import { Choices, isAllowed, isChoice } from "../label/choices.js";
import { nameOf, Stage } from "../label/stage.js";
import { loaded } from "./clips.js";

export class Practice {
  #pairs;
  #settings;
  #done;
  #signal;
  #player = new Player();
  #controls;
  #stage;
  #choices;
  #pair = null; // that waits for an answer
  #waiting = make("p", { class: "message" }, word("loading"));
  #feedback = make("p", { class: "feedback", role: "status" });
  #next = make("button", { type: "button", class: "primary", hidden: true, onclick: () => this.#goOn() }, word("next"));

  /** `done()` is called when all pairs are answered. */
  constructor(view, head, way, settings, done, signal) {
    this.#pairs = [...way.practice];
    this.#settings = settings;
    this.#done = done;
    this.#signal = signal;
    this.#controls = new Controls(this.#player, signal);
    this.#controls.allowTrim(false);
    this.#stage = new Stage(this.#player, this.#controls.node, signal);
    const act = (action) => this.#act(action);
    this.#choices = new Choices(act);
    view.replaceChildren(
      make(
        "div",
        { class: "label-page practice" },
        head,
        make("p", { class: "instructions goal" }, word("practiceIntro")),
        this.#waiting,
        this.#stage.node,
        this.#choices.node,
        make("div", { class: "feedback-line" }, this.#feedback, this.#next),
      ),
    );
    listen(act, signal);
    signal.addEventListener("abort", () => this.#player.hide());
    explain({ ...settings, allow_trim: false, sees_reward: false });
    this.#goOn();
  }

  #act(action) {
    if (isChoice(action)) this.#choose(action);
    else if (!["undo", "microscope", "observed"].includes(action)) this.#controls.act(action);
  }

  async #goOn() {
    const pair = this.#pairs.shift();
    if (!pair) {
      this.#done();
      return;
    }
    setText(this.#feedback, "");
    this.#next.hidden = true;
    this.#pair = null;
    this.#show(false);
    const same = ({ practice }) => practice.find(({ query }) => query === pair.query);
    const ready = await loaded(pair, same, this.#signal);
    if (this.#signal.aborted) return;
    if (ready.problem) {
      setText(this.#waiting, ready.problem);
      return;
    }
    this.#pair = pair;
    this.#show(true);
    this.#player.setSpeed(beginningSpeed(this.#settings.playback_speed, ready.clips));
    this.#stage.show(ready);
  }

  #show(isThere) {
    this.#stage.node.hidden = !isThere;
    this.#waiting.hidden = isThere;
    this.#choices.show(this.#settings, isThere, false, null);
  }

  async #choose(choice) {
    if (!this.#pair || !isAllowed(choice, this.#settings)) return;
    const { query } = this.#pair;
    this.#pair = null;
    this.#choices.show(this.#settings, false, false, choice);
    this.#stage.flash(choice);
    let said;
    try {
      said = await practise(query, choice);
    } catch (error) {
      if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
      setText(this.#feedback, error.message);
      this.#pair = { query };
      this.#choices.show(this.#settings, true, false, null);
      return;
    }
    const better = said.answer === "tie" ? "tie" : nameOf(said.answer);
    const text = word(said.right ? "practiceYes" : `practice${better[0].toUpperCase()}${better.slice(1)}`);
    setText(this.#feedback, text);
    this.#feedback.dataset.right = said.right;
    this.#next.hidden = false;
    this.#next.focus();
    say(text);
  }
}
