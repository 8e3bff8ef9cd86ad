// The labelling page: two clips, and a key for what is better.

import { getRun, persist, Refused, undo } from "./api.js";
import { Controls, keyButton } from "./controls.js";
import { make, setText } from "./dom.js";
import { instructions } from "./instructions.js";
import { listen } from "./keys.js";
import { Message } from "./message.js";
import { askName } from "./name.js";
import { notify, say } from "./notices.js";
import { outbox } from "./outbox.js";
import { Player } from "./player.js";
import { Progress } from "./progress.js";
import { PairQueue } from "./queue.js";
import { annotator, session, uuid } from "./session.js";
import { isStacked, sideName, sideText, Stage } from "./stage.js";

const SAID = { tie: "Both equal", skip: "Skipped" };
const CHOICES = ["left", "right", "tie", "skip"];

const inWords = (choice) => SAID[choice] ?? sideText(choice, " is better");

/** Shows the page of a run until the signal says stop. */
export async function showLabel(view, signal, name) {
  if (!annotator()) await askName();
  if (signal.aborted) return;
  let run;
  try {
    run = await persist(() => getRun(name), signal);
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof Refused)) throw error;
    view.replaceChildren(
      make("h1", { tabindex: "-1" }, name),
      make("p", { class: "empty" }, error.message, " ", make("a", { href: "#/" }, "All runs")),
    );
    return;
  }
  if (!signal.aborted) new LabelPage(view, run, signal);
}

class LabelPage {
  #view;
  #run;
  #signal;
  #player = new Player();
  #queue;
  #progress;
  #controls;
  #shown = null; // the pair on the page
  #undoing = false;
  #said = new Map(); // query to choice, to tell what is taken back
  #seconds = 0; // of looking at this pair, before `#since`
  #since = null;
  #buttons = {};
  #message;
  #last = make("p", { class: "last" });
  #stage;
  #instructions;
  #initialSpeed = null;
  #waited = false; // for pairs, since the last one was shown

  constructor(view, run, signal) {
    this.#view = view;
    this.#run = run;
    this.#signal = signal;
    this.#queue = new PairQueue(run.name, annotator(), session(), signal);
    this.#progress = new Progress(run, annotator(), signal);
    this.#controls = new Controls(this.#player, (action) => this.#act(action), signal);
    this.#stage = new Stage(this.#player, this.#controls.node, signal);
    this.#message = new Message(run.name);
    this.#instructions = instructions(run);
    this.#build();
    listen((action) => this.#act(action), signal);
    this.#queue.addEventListener("change", () => this.#update(), { signal });
    outbox.addEventListener("stored", () => this.#shown || this.#queue.look(), { signal });
    outbox.addEventListener("refused", (event) => this.#refused(event.detail), { signal });
    document.addEventListener("visibilitychange", () => this.#watch(!document.hidden), { signal });
    signal.addEventListener("abort", () => this.#player.hide());
    this.#update();
  }

  #build() {
    const act = (action) => this.#act(action);
    const b = this.#buttons;
    for (const side of ["left", "right"]) {
      b[side] = keyButton(side, act, { class: `choice ${side}` }, sideName(side, " is better"));
    }
    b.tie = keyButton("tie", act, { class: "choice tie" }, "Equal");
    b.skip = keyButton("skip", act, { class: "choice skip" }, "Can't tell");
    b.undo = keyButton("undo", act, { class: "choice undo" }, "Undo");
    const choices = make(
      "div",
      { class: "choices", role: "group", "aria-label": "Which is better?" },
      b.left, make("div", { class: "between" }, b.tie, b.skip, b.undo), b.right,
    );
    this.#view.replaceChildren(
      make(
        "div",
        { class: "label-page" },
        make(
          "div",
          { class: "label-head" },
          make("h1", { tabindex: "-1" }, this.#run.name, " ", make("small", {}, this.#run.env)),
          this.#progress.node,
        ),
        ...(this.#instructions ? [this.#instructions] : []),
        this.#message.node,
        this.#stage.node,
        choices,
        this.#last,
      ),
    );
  }

  /** Does what a key or a button asks for. */
  #act(action) {
    const player = this.#player;
    if (CHOICES.includes(action)) this.#choose(action);
    else if (action === "undo") this.#undo();
    else if (!this.#shown) return;
    else if (action === "play") player.toggle();
    else if (action === "back") player.move(-1);
    else if (action === "forward") player.move(1);
    else if (action === "restart") player.restart();
    else if (action === "slower") player.changeSpeed(-1);
    else if (action === "faster") player.changeSpeed(1);
    else if (this.#queue.settings.allow_trim) this.#trim(action);
  }

  #trim(action) {
    const { step, start, stop, length } = this.#player;
    if (action === "trimStart") this.#player.setRange(step, Math.max(stop, step + 1));
    else if (action === "trimStop") this.#player.setRange(Math.min(start, step), step + 1);
    else this.#player.setRange(0, length);
    say(`Comparing ${this.#controls.trimmed || "all frames"}.`);
  }

  #choose(choice) {
    const pair = this.#shown;
    if (!pair || this.#undoing || !this.#isAllowed(choice)) return;
    const { start, stop } = this.#player;
    const seconds = this.#watch(false);
    const kept = outbox.add({
      id: uuid(),
      lease: pair.lease,
      choice,
      trim: this.#controls.trimmed && choice !== "skip" ? { start, stop } : null,
      seconds: Math.min(Math.round(1000 * seconds) / 1000, 86400),
    });
    if (!kept) {
      notify("This browser keeps nothing: don't close the page while it says it is offline.");
    }
    this.#said.set(pair.query, inWords(choice));
    this.#progress.count(1, seconds);
    setText(this.#last, inWords(choice));
    this.#last.dataset.choice = choice;
    this.#queue.markAnswered(pair.lease);
    this.#queue.remove(pair);
    this.#shown = null;
    // on a phone both clips fit in only without what was read by now
    if (this.#instructions && isStacked()) this.#instructions.open = false;
    this.#update();
    say(`${inWords(choice)}. ${this.#shown ? "Next pair." : ""}`);
  }

  #isAllowed(choice) {
    const settings = this.#queue.settings;
    if (choice === "tie") return settings.allow_ties;
    if (choice === "skip") return settings.allow_skip;
    return true;
  }

  async #undo() {
    if (this.#undoing) return;
    this.#undoing = true; // what is answered meanwhile would be taken back in its place
    this.#showButtons();
    const waits = setTimeout(() => setText(this.#last, "Taking back, once the server replies …"), 400);
    try {
      await outbox.settled();
      const id = uuid();
      const said = { id, run: this.#run.name, annotator: annotator(), session: session() };
      const leases = await persist(() => undo(said), this.#signal);
      if (this.#signal.aborted) return;
      const before = this.#said.get(leases.queries[0]?.query);
      const text = before ? `Taken back: ${before.toLowerCase()}` : "Taken back";
      setText(this.#last, text);
      say(`${text}. Choose again.`);
      this.#last.dataset.choice = "undo";
      this.#progress.count(-1, 0);
      this.#progress.refreshSoon();
      this.#leave();
      this.#queue.putFirst(leases.queries);
    } catch (error) {
      if (!(error instanceof Refused)) {
        if (this.#signal.aborted) return;
        throw error;
      }
      setText(this.#last, error.message);
      say(error.message);
    } finally {
      clearTimeout(waits);
      this.#undoing = false;
      this.#showButtons();
    }
  }

  /** An answer was not stored, so the queue is not what it was thought to be. */
  #refused({ error }) {
    this.#progress.count(-1, 0);
    this.#progress.refreshSoon();
    if (error.status === 403) this.#queue.settings = null;
    this.#queue.forget();
  }

  /** Takes the pair off the page; it stays in the queue. */
  #leave() {
    this.#watch(false);
    this.#seconds = 0;
    this.#shown = null;
    this.#player.hide();
  }

  /** Brings the page up to the queue. */
  #update() {
    if (this.#shown && !this.#queue.pairs.includes(this.#shown)) this.#leave();
    const pair = this.#shown ?? this.#queue.next();
    if (pair && !this.#shown) this.#show(pair);
    this.#stage.node.hidden = !this.#shown;
    this.#message.node.hidden = Boolean(this.#shown);
    if (this.#shown) {
      this.#message.clear();
    } else {
      this.#player.hide();
      this.#tell();
    }
    this.#view.dataset.state = this.#shown ? "pair" : this.#queue.state;
    this.#controls.allowTrim(this.#queue.settings?.allow_trim ?? false);
    this.#showButtons();
  }

  #show(pair) {
    this.#shown = pair;
    const speed = this.#queue.settings.playback_speed;
    // whoever has changed the speed keeps theirs, until the settings say another
    if (speed !== this.#initialSpeed) this.#player.setSpeed(speed);
    this.#initialSpeed = speed;
    this.#stage.show(pair);
    this.#seconds = 0;
    this.#watch(!document.hidden);
    if (this.#waited) {
      this.#waited = false;
      if (document.hidden) document.title = "● New pairs";
      say("There are pairs to compare.");
    }
  }

  /** Says why there is no pair. */
  #tell() {
    const { state, pairs } = this.#queue;
    const news = this.#message.show(this.#queue, this.#progress.isEmpty);
    if (state === "loading" || pairs.length) return;
    this.#waited = true;
    if (news) say(news);
  }

  #showButtons() {
    const settings = this.#queue.settings;
    const ready = Boolean(this.#shown) && !this.#undoing;
    const b = this.#buttons;
    b.tie.hidden = settings !== null && !settings.allow_ties;
    b.skip.hidden = settings !== null && !settings.allow_skip;
    for (const choice of CHOICES) b[choice].setAttribute("aria-disabled", String(!ready));
    b.undo.setAttribute("aria-disabled", String(this.#undoing));
  }

  /** Counts the seconds that the pair is looked at; those so far. */
  #watch(looking) {
    const now = performance.now();
    if (this.#since !== null) this.#seconds += (now - this.#since) / 1000;
    this.#since = looking && this.#shown ? now : null;
    if (looking && document.title.startsWith("●")) document.title = `${this.#run.name} · prefloop`;
    return this.#seconds;
  }
}
