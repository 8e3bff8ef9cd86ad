// The labelling page: two clips, and a key for what is better.

import { connection, getRun, persist, Refused } from "./api.js";
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
const PATIENCE = 2000; // milliseconds that labelling waits for an undo

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
  #undoing = null; // the undo that labelling waits for: its pair is to be answered next
  #given = []; // answers that can be taken back, the last first to go: {id, lease}
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
    const own = (entry) => entry.run === run.name && entry.annotator === annotator();
    const waiting = outbox.waiting().filter(own); // from before a reload
    const takenBack = new Set(waiting.map(({ said }) => said.undoes));
    this.#given = waiting
      .filter(({ kind, said }) => kind === "answer" && !takenBack.has(said.id))
      .map(({ said: { id, lease } }) => ({ id, lease }));
    this.#build();
    listen((action) => this.#act(action), signal);
    this.#queue.addEventListener("change", () => this.#update(), { signal });
    outbox.addEventListener("stored", () => this.#shown || this.#queue.look(), { signal });
    const isHere = ({ said }) => said.session === session(); // not another tab's, which gets the pair
    outbox.addEventListener("undone", ({ detail }) => own(detail.entry) && isHere(detail.entry) && this.#undone(detail), { signal });
    outbox.addEventListener("change", () => this.#stopWaiting(), { signal });
    outbox.addEventListener("refused", ({ detail }) => own(detail.entry) && this.#refused(detail), { signal });
    connection.addEventListener("change", () => connection.reachable || this.#goOn(), { signal });
    this.#progress.addEventListener("round", () => this.#askedAgain(), { signal });
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
    const said = {
      id: uuid(),
      lease: pair.lease,
      choice,
      trim: this.#controls.trimmed && choice !== "skip" ? { start, stop } : null,
      seconds: Math.min(Math.round(1000 * seconds) / 1000, 86400),
    };
    this.#given.push({ id: said.id, lease: said.lease });
    if (!outbox.add("answer", said, this.#run.name, annotator())) {
      notify("This browser keeps nothing: don't close the page while it says it is offline.");
    }
    this.#said.set(pair.query, inWords(choice));
    this.#progress.count(1, seconds);
    this.#queue.markAnswered(pair.lease);
    this.#queue.remove(pair);
    this.#shown = null;
    // on a phone both clips fit in only without what was read by now
    if (this.#instructions && isStacked()) this.#instructions.open = false;
    this.#update();
    this.#tellLast(inWords(choice), choice, `${inWords(choice)}. ${this.#shown ? "Next pair." : ""}`);
  }

  #isAllowed(choice) {
    const settings = this.#queue.settings;
    if (choice === "tie") return settings.allow_ties;
    if (choice === "skip") return settings.allow_skip;
    return true;
  }

  /** Takes the last answer back. An undo names its answer, so that it can take back no other. */
  #undo() {
    if (this.#undoing) return;
    const last = this.#given.pop();
    if (last && outbox.drop(last.id)) {
      // the server has never heard of it: its pair is still ours
      const pair = this.#queue.takeBack(last.lease);
      if (pair) this.#leave();
      this.#tookBack(this.#said.get(pair?.query));
      return;
    }
    const waiting = outbox.waiting().filter(({ kind }) => kind === "undo");
    if (!last && waiting.some(({ said }) => said.undoes === null)) return; // once is enough
    const id = uuid();
    const said = { id, run: this.#run.name, annotator: annotator(), session: session(), undoes: last?.id ?? null };
    this.#undoing = id; // what is answered in the meantime would be meant for the other pair
    this.#showButtons();
    outbox.add("undo", said, this.#run.name, annotator());
    if (connection.reachable) setTimeout(() => this.#undoing === id && this.#goOn(), PATIENCE);
    else this.#goOn();
  }

  /** Labels on, where the server does not reply to an undo. */
  #goOn() {
    if (!this.#undoing || this.#signal.aborted) return;
    this.#undoing = null;
    this.#tellLast("It is taken back once the server replies. Go on.", "undo");
    this.#showButtons();
  }

  /** Another tab has sent the undo that is waited for: its pair comes with the next ones. */
  #stopWaiting() {
    if (!this.#undoing || outbox.waiting().some(({ said }) => said.id === this.#undoing)) return;
    this.#undoing = null;
    this.#queue.look();
    this.#showButtons();
  }

  /** The server has taken an answer back. */
  #undone({ entry, reply }) {
    if (this.#undoing === entry.said.id) this.#undoing = null;
    this.#leave();
    this.#queue.putFirst(reply.queries);
    this.#tookBack(this.#said.get(reply.queries[0]?.query));
  }

  #tookBack(words) {
    this.#progress.count(-1, 0);
    this.#progress.refreshSoon();
    this.#update();
    const text = words ? `Taken back: ${words.toLowerCase()}` : "Taken back";
    this.#tellLast(text, "undo", `${text}. Choose again.`);
  }

  /** Something was not stored, so the queue is not what it was thought to be. */
  #refused({ entry, error, undos }) {
    if (undos.some(({ said }) => said.id === this.#undoing) || entry.said.id === this.#undoing) this.#undoing = null;
    if (entry.kind === "undo") {
      this.#tellLast(error.message, "undo");
      this.#showButtons();
      return;
    }
    this.#given = this.#given.filter(({ id }) => id !== entry.said.id);
    this.#progress.count(-1, 0);
    this.#progress.refreshSoon();
    if (error.status === 403) this.#queue.settings = null;
    this.#queue.forget();
    if (undos.length) this.#tellLast("There was nothing to take back: that answer was not stored.", "undo");
  }

  /** Somebody has begun a new round: no answer and no pair of the last one counts. */
  #askedAgain() {
    this.#given = [];
    this.#queue.forget();
    this.#tellLast("Everything is asked again.", "undo");
  }

  /** Says what became of the last key. */
  #tellLast(text, choice, spoken = text) {
    setText(this.#last, text);
    this.#last.dataset.choice = choice;
    say(spoken);
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
    const losesFocus = !this.#shown && this.#stage.node.contains(document.activeElement);
    this.#stage.node.hidden = !this.#shown;
    this.#message.node.hidden = Boolean(this.#shown);
    if (losesFocus) this.#message.node.focus();
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
    const focused = document.activeElement;
    b.tie.hidden = settings !== null && !settings.allow_ties;
    b.skip.hidden = settings !== null && !settings.allow_skip;
    if (focused?.hidden) b.left.focus();
    for (const choice of CHOICES) b[choice].setAttribute("aria-disabled", String(!ready));
    b.undo.setAttribute("aria-disabled", String(Boolean(this.#undoing)));
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
