// The labelling page: two clips, and a key for what is better.

import { getRun, persist, Refused, undo } from "./api.js";
import { Controls, keyButton } from "./controls.js";
import { count, make, setText } from "./dom.js";
import { listen } from "./keys.js";
import { askName } from "./name.js";
import { notify, say } from "./notices.js";
import { outbox } from "./outbox.js";
import { Player } from "./player.js";
import { Progress } from "./progress.js";
import { PairQueue } from "./queue.js";
import { annotator, session, uuid } from "./session.js";
import { browser } from "./storage.js";

const SAID = {
  left: "Left is better",
  right: "Right is better",
  tie: "Both equal",
  skip: "Skipped",
};

const NARROW = window.matchMedia("(max-width: 640px)");

/** A choice in words; on a phone the clips are one above the other. */
function inWords(choice) {
  const text = SAID[choice];
  return NARROW.matches ? text.replace("Left", "Upper").replace("Right", "Lower") : text;
}

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
  #sides = {};
  #message = make("div", { class: "message" });
  #last = make("p", { class: "last" });
  #stage;
  #details = null;

  constructor(view, run, signal) {
    this.#view = view;
    this.#run = run;
    this.#signal = signal;
    this.#queue = new PairQueue(run.name, annotator(), session(), signal);
    this.#progress = new Progress(run, annotator(), signal);
    this.#controls = new Controls(this.#player, (action) => this.#act(action), signal);
    this.#build();
    listen((action) => this.#act(action), signal);
    this.#queue.addEventListener("change", () => this.#update(), { signal });
    this.#player.addEventListener("change", () => this.#showEnds(), { signal });
    outbox.addEventListener("stored", () => this.#shown || this.#queue.look(), { signal });
    outbox.addEventListener("refused", (event) => this.#refused(event.detail), { signal });
    document.addEventListener("visibilitychange", () => this.#watch(!document.hidden), { signal });
    signal.addEventListener("abort", () => this.#player.hide());
    this.#update();
  }

  #build() {
    const act = (action) => this.#act(action);
    const side = (name, upper) => {
      const title = [
        make("span", { class: "beside" }, name === "left" ? "Left" : "Right"),
        make("span", { class: "stacked" }, upper),
      ];
      const screen = make("div", { class: "screen" });
      const steps = make("span", { class: "steps" });
      const note = make("p", { class: "note" });
      const figure = make(
        "figure",
        { class: `clip ${name}`, "data-side": name },
        screen,
        make("figcaption", {}, make("span", { class: "title" }, title), steps),
        note,
      );
      screen.addEventListener("click", () => act("play"));
      this.#sides[name] = { figure, screen, steps, note };
      const better = [
        make("span", { class: "beside" }, name === "left" ? "Left is better" : "Right is better"),
        make("span", { class: "stacked" }, `${upper} is better`),
      ];
      this.#buttons[name] = keyButton(name, act, { class: `choice ${name}` }, better);
      return figure;
    };
    const figures = [side("left", "Upper"), side("right", "Lower")];
    const b = this.#buttons;
    b.tie = keyButton("tie", act, { class: "choice tie" }, "Equal");
    b.skip = keyButton("skip", act, { class: "choice skip" }, "Can't tell");
    b.undo = keyButton("undo", act, { class: "choice undo" }, "Undo");
    this.#stage = make(
      "section",
      { class: "stage", "aria-label": "The two clips", hidden: true },
      make("div", { class: "clips" }, figures),
      this.#controls.node,
    );
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
        this.#instructions(),
        this.#message,
        this.#stage,
        choices,
        this.#last,
      ),
    );
  }

  #instructions() {
    const text = this.#run.instructions.trim();
    if (!text) return null;
    const key = `read.${this.#run.name}`;
    const details = (this.#details = make(
      "details",
      { class: "instructions", open: browser.read(key) !== text },
      make("summary", {}, "What to look for"),
      make("p", {}, text),
    ));
    // closed once, it stays closed until there is something new to read
    details.addEventListener("toggle", () => {
      if (details.open) browser.remove(key);
      else browser.write(key, text);
    });
    return details;
  }

  /** Does what a key or a button asks for. */
  #act(action) {
    const player = this.#player;
    if (action in SAID) this.#choose(action);
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
    if (this.#details && NARROW.matches) this.#details.open = false;
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
    const problem = this.#queue.pairs.find((one) => one.problem)?.problem;
    this.#stage.hidden = !this.#shown;
    this.#message.hidden = Boolean(this.#shown);
    if (!this.#shown) this.#tell(problem);
    this.#view.dataset.state = this.#shown ? "pair" : this.#queue.state;
    this.#controls.allowTrim(this.#queue.settings?.allow_trim ?? false);
    this.#showButtons();
  }

  #show(pair) {
    this.#shown = pair;
    for (const [i, name] of ["left", "right"].entries()) {
      const { figure, screen, steps, note } = this.#sides[name];
      screen.replaceChildren(pair.clips[i].node);
      figure.dataset.segment = pair[name].segment;
      // then what is shown is a plot, of the server's or of this page's
      setText(note, pair[name].clip_error ?? "");
      setText(steps, count(pair.clips[i].length, "step"));
    }
    this.#stage.dataset.lease = pair.lease;
    const speed = this.#queue.settings.playback_speed;
    // whoever has changed the speed keeps theirs, until the settings say another
    if (speed !== this.#initialSpeed) this.#player.setSpeed(speed);
    this.#initialSpeed = speed;
    this.#player.show(pair.clips);
    this.#seconds = 0;
    this.#watch(!document.hidden);
    if (this.#waited) {
      this.#waited = false;
      if (document.hidden) document.title = "● New pairs";
      say("There are pairs to compare.");
    }
  }

  #initialSpeed = null;
  #waited = false;

  #tell(problem) {
    const { state, leftOver, pairs } = this.#queue;
    const left = leftOver ? ` ${count(leftOver, "pair is", "pairs are")} being looked at by others.` : "";
    const [title, text] = problem
      ? ["These clips can't be shown", problem]
      : pairs.length
        ? ["The clips are on their way …", "They are shown as soon as they are ready."]
        : {
            loading: ["Fetching pairs …", ""],
            waiting: ["Nothing to compare right now", `${left} New pairs appear here by themselves.`],
            finished: this.#finished(leftOver),
            gone: ["This run is gone", "Somebody has removed or renamed it."],
          }[state] ?? ["Fetching pairs …", ""];
    if (this.#message.dataset.title === title + text) return;
    this.#message.dataset.title = title + text;
    this.#message.replaceChildren(
      make("h2", {}, title),
      make("p", {}, text.trim()),
      ...(state === "gone" || (state === "finished" && !pairs.length)
        ? [make("p", {}, make("a", { href: `#/results/${this.#run.name}` }, "Results"), " · ", make("a", { href: "#/" }, "All runs"))]
        : []),
    );
    if (state !== "loading" && !pairs.length) {
      say(`${title}. ${text}`);
      this.#waited = true;
    }
  }

  #finished(leftOver) {
    const more = "New pairs appear here by themselves.";
    if (this.#progress.isEmpty) return ["No pairs yet", more];
    if (!leftOver) return ["All pairs are done", `Thank you! ${more}`];
    const others = `${count(leftOver, "pair")} can only be labelled by others.`;
    return ["Nothing is left for you here", `Thank you! ${others} ${more}`];
  }

  #showButtons() {
    const settings = this.#queue.settings;
    const ready = Boolean(this.#shown) && !this.#undoing;
    const b = this.#buttons;
    b.tie.hidden = settings !== null && !settings.allow_ties;
    b.skip.hidden = settings !== null && !settings.allow_skip;
    for (const name of Object.keys(SAID)) b[name].setAttribute("aria-disabled", String(!ready));
    b.undo.setAttribute("aria-disabled", String(this.#undoing));
  }

  /** Marks a clip that is over while the other goes on. */
  #showEnds() {
    const { clips, step, stop } = this.#player;
    clips.forEach((clip, i) => {
      const over = step >= clip.length && stop > clip.length;
      this.#sides[i ? "right" : "left"].figure.classList.toggle("over", over);
    });
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
