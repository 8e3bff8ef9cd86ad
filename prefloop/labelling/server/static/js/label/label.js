// The labelling page: two clips, and a key for what is better.

import { getRun } from "../common/api.js";
import { Choices, choiceText, isAllowed, isChoice, saidText } from "./choices.js";
import { Controls } from "../common/controls.js";
import { make, setText } from "../common/dom.js";
import { instructions } from "./instructions.js";
import { explain, listen } from "../common/keys.js";
import { Message } from "./message.js";
import { askName } from "./name.js";
import { Microscope } from "./microscope.js";
import { notify } from "./notices.js";
import { Observed } from "./observed.js";
import { outbox } from "./outbox.js";
import { picturesOf } from "../common/observed.js";
import { beginningSpeed, Player } from "../common/player.js";
import { Progress } from "./progress.js";
import { PairQueue, pairsOf } from "./queue.js";
import { foundOrShown } from "../common/refusal.js";
import { say } from "../common/say.js";
import { annotator, uuid } from "../common/session.js";
import { isStacked, Stage } from "./stage.js";
import { Stopwatch } from "./stopwatch.js";
import { Training } from "../training/training.js";
import { Undo } from "./undo.js";
import { word } from "../common/words.js";

const LONGEST = 86400; // seconds of looking that are told: whoever needs a day was away

/** Shows the page of a run until the signal says stop. */
export async function showLabel(view, signal, name) {
  if (!annotator()) await askName();
  if (signal.aborted) return;
  const run = await foundOrShown(view, name, () => getRun(name), signal);
  if (run) showPairs(view, run, signal);
}

function showPairs(view, run, signal) {
  const who = annotator();
  const player = new Player();
  const pictures = picturesOf(run.spaces);
  new LabelPage(view, {
    run: run.name,
    annotator: who,
    title: [run.name, " ", make("small", {}, run.env)],
    source: pairsOf(run.name, who, { sees_reward: true, sees_observed: pictures !== null }),
    player,
    progress: new Progress(run, who, signal),
    message: new Message(run.name),
    instructions: instructions(run),
    microscope: new Microscope(run.name, player, signal),
    observed: pictures && new Observed(pictures, player, signal),
    training: new Training(run.name, signal),
  }, signal);
}

/**
 * The page itself. What it is made of:
 *
 * run, annotator: whose answers they are, as `outbox` keeps them; title: of the page.
 * source: where pairs come from, as `pairsOf` makes it; player: what plays them.
 * progress: how far it is; message: what stands there while no pair does; instructions: or null.
 * microscope, observed, training: what the learned reward says, what is seen by it, and who learns it; null where nobody is to see it.
 * smallestSeconds: that a pair is looked at before it can be answered.
 * idle: called with the queue whenever there is no pair to show.
 */
export class LabelPage {
  #view;
  #parts;
  #run;
  #annotator;
  #player;
  #queue;
  #undo;
  #progress;
  #controls;
  #choices;
  #stage;
  #message;
  #instructions;
  #underClips; // what can be shown under each clip: the learned reward, and what the agent sees
  #training;
  #last = make("p", { class: "last" });
  #stopwatch = new Stopwatch(); // of this pair
  #shown = null; // the pair on the page
  #initialSpeed = null;
  #begunWith = null; // the speed of this pair, as long as nobody has changed it
  #waited = false; // for pairs, since the last one was shown
  #documentTitle = document.title;
  #soon = null; // when the pair may be answered that is looked at

  constructor(view, parts, signal) {
    this.#view = view;
    this.#parts = { smallestSeconds: 0, idle: () => {}, ...parts };
    this.#run = parts.run;
    this.#annotator = parts.annotator;
    this.#player = parts.player;
    const act = (action) => this.#act(action);
    this.#queue = new PairQueue(parts.source, signal);
    this.#undo = new Undo(this.#run, this.#annotator, this.#queue, signal);
    this.#progress = parts.progress;
    this.#controls = new Controls(this.#player, signal);
    this.#choices = new Choices(act);
    this.#stage = new Stage(this.#player, this.#controls.node, signal);
    this.#message = parts.message;
    this.#instructions = parts.instructions;
    const { microscope, observed } = parts;
    this.#underClips = new Map(Object.entries({ observed, microscope }).filter(([, part]) => part));
    for (const part of this.#underClips.values()) {
      for (const [side, node] of Object.entries(part.places)) this.#stage.addUnder(side, node);
      this.#controls.add(part.button);
    }
    this.#training = parts.training;
    this.#build();
    listen(act, signal);
    const on = (target, type, react) => target.addEventListener(type, react, { signal });
    on(this.#queue, "change", () => this.#update());
    on(this.#undo, "change", () => this.#showButtons());
    on(this.#undo, "back", ({ detail }) => this.#tookBack(detail));
    on(this.#undo, "sentence", ({ detail }) => this.#tellLast(detail, "undo"));
    on(this.#progress, "round", () => this.#askedAgain());
    on(outbox, "stored", () => this.#shown || this.#queue.look());
    on(outbox, "refused", ({ detail: { entry, error } }) => {
      if (entry.kind === "answer" && outbox.isOwn(entry, this.#run, this.#annotator)) this.#notStored(entry, error);
    });
    on(document, "visibilitychange", () => this.#watch(!document.hidden));
    signal.addEventListener("abort", () => {
      clearTimeout(this.#soon);
      this.#player.hide();
      explain(null);
    });
    this.#update();
  }

  #build() {
    this.#view.replaceChildren(
      make(
        "div",
        { class: "label-page" },
        make(
          "div",
          { class: "label-head" },
          make("h1", { tabindex: "-1" }, ...this.#parts.title),
          this.#progress.node,
        ),
        ...(this.#instructions ? [this.#instructions] : []),
        this.#message.node,
        this.#stage.node,
        this.#choices.node,
        this.#last,
        this.#training?.node,
      ),
    );
  }

  /** Does what a key or a button asks for. */
  #act(action) {
    if (action === "undo") this.#undo.begin();
    else if (!this.#shown) return;
    else if (isChoice(action)) this.#choose(action);
    else if (["microscope", "observed"].includes(action)) this.#underClips.get(action)?.toggle();
    else this.#controls.act(action);
  }

  #choose(choice) {
    if (this.#undo.isPending || !isAllowed(choice, this.#queue.settings) || !this.#isSeen) return;
    const pair = this.#shown;
    const { start, stop } = this.#player;
    const seconds = this.#stopwatch.stop();
    const said = {
      id: uuid(),
      lease: pair.lease,
      choice,
      trim: this.#controls.trimmed && choice !== "skip" ? { start, stop } : null,
      seconds: Math.min(Math.round(1000 * seconds) / 1000, LONGEST),
    };
    this.#undo.remember(said);
    if (!outbox.add("answer", said, this.#run, this.#annotator)) {
      notify(word("keepsNothing"));
    }
    this.#progress.count(1, seconds);
    this.#choices.flash(choice);
    this.#stage.flash(choice);
    this.#shown = null;
    // on a phone both clips fit in only without what was read by now
    if (this.#instructions && isStacked()) this.#instructions.open = false;
    this.#queue.answered(pair);
    this.#update();
    this.#tellLast(word("lastAnswer", { choice: saidText(choice) }), choice, `${choiceText(choice)}. ${this.#shown ? word("nextPair") : ""}`);
  }

  /** An answer was taken back: its pair is to be answered before the one that is shown. */
  #tookBack(choice) {
    this.#leave();
    this.#progress.count(-1, 0);
    this.#progress.refreshSoon();
    this.#update();
    const text = choice ? word("takenBackWhat", { choice: saidText(choice) }) : word("takenBack");
    this.#tellLast(text, "undo", `${text}. ${word("chooseAgain")}`);
  }

  /** An answer was refused, so the queue is not what it was thought to be. */
  #notStored({ said }, error) {
    this.#progress.count(-1, 0);
    this.#progress.refreshSoon();
    if (error.status === 403) this.#queue.settings = null;
    this.#queue.forget(said.lease);
  }

  /** Somebody has begun a new round: no answer and no pair of the last one counts. */
  #askedAgain() {
    this.#undo.forget();
    this.#queue.forget();
    this.#tellLast(word("askedAgain"), "undo");
  }

  /** Says what became of the last key. */
  #tellLast(text, choice, spoken = text) {
    setText(this.#last, text);
    this.#last.dataset.choice = choice;
    say(spoken);
  }

  /** Takes the pair off the page; it stays in the queue. */
  #leave() {
    this.#stopwatch.reset();
    this.#shown = null;
    this.#player.hide();
  }

  /** Brings the page up to the queue. */
  #update() {
    if (this.#shown && !this.#queue.pairs.includes(this.#shown)) this.#leave();
    const pair = this.#shown ?? this.#queue.next();
    if (pair && !this.#shown) this.#show(pair);
    const losesFocus = !this.#shown && this.#stage.node.contains(document.activeElement);
    this.#stage.node.hidden = !this.#shown;
    this.#message.node.hidden = Boolean(this.#shown);
    if (losesFocus) this.#message.node.focus();
    if (this.#shown) {
      this.#message.clear();
    } else {
      this.#player.hide();
      this.#tellWhy();
      this.#parts.idle(this.#queue);
    }
    this.#view.dataset.state = this.#shown ? "pair" : this.#queue.state;
    this.#controls.allowTrim(this.#queue.settings?.allow_trim ?? false);
    this.#showButtons();
  }

  #show(pair) {
    this.#shown = pair;
    const speed = this.#queue.settings.playback_speed;
    // whoever has changed the speed keeps theirs, until the settings say another
    if (speed !== this.#initialSpeed || this.#player.speed === this.#begunWith) {
      this.#begunWith = beginningSpeed(speed, pair.clips);
      this.#player.setSpeed(this.#begunWith);
    }
    this.#initialSpeed = speed;
    this.#stage.show(pair);
    if (pair.said?.trim && this.#queue.settings.allow_trim) this.#controls.narrow(pair.said.trim);
    for (const part of this.#underClips.values()) part.show(pair);
    this.#stopwatch.reset();
    this.#watch(!document.hidden);
    if (this.#waited) {
      this.#waited = false;
      if (document.hidden) document.title = `● ${word("newPairs")}`;
      say(word("pairsThere"));
    }
  }

  /** Says why there is no pair. */
  #tellWhy() {
    const { state, pairs } = this.#queue;
    const news = this.#message.show(this.#queue, this.#progress.isEmpty);
    if (state === "loading" || pairs.length) return;
    this.#waited = true;
    if (this.#training) this.#training.node.open = true; // there is time to look
    if (news) say(news);
  }

  #showButtons() {
    const isPending = this.#undo.isPending;
    explain(this.#queue.settings);
    this.#choices.show(this.#queue.settings, Boolean(this.#shown) && !isPending && this.#isSeen, !isPending, this.#shown?.said?.choice);
  }

  /** Whether the pair was looked at for as long as it must be. */
  get #isSeen() {
    return this.#stopwatch.seconds >= this.#parts.smallestSeconds;
  }

  /** Somebody looks at the page, or no longer does. */
  #watch(isSeen) {
    if (isSeen && this.#shown) this.#stopwatch.start();
    else this.#stopwatch.stop();
    clearTimeout(this.#soon);
    const left = this.#parts.smallestSeconds - this.#stopwatch.seconds;
    if (isSeen && this.#shown && left > 0) this.#soon = setTimeout(() => this.#showButtons(), 1000 * left + 10);
    if (isSeen && document.title.startsWith("●")) document.title = this.#documentTitle;
  }
}
