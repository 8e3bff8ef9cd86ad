// The pairs to label: leased from the server some ahead of need, with their clips loaded.

import { getSettings, lease, pause, Refused, serverNow, Unreachable } from "./api.js";
import { makeClip } from "./clips.js";
import { count } from "./dom.js";
import { outbox } from "./outbox.js";

const AHEAD = 4; // pairs, with the one that is shown
const MOST = 8; // that the server gives at once
const MOST_HELD = 32; // that it wants to be told of
const EMPTY_POLL = 1000; // milliseconds between looks into an empty queue, at first
const SLOWEST_POLL = 4000;
const UNRENDERED_POLL = 700;
const RECENT = 6; // answered pairs that are shown at once when they are undone
const SETTINGS_LAST = 5000; // milliseconds
const IDLE = 300_000; // milliseconds after which others may have what nobody looks at

/** A leased pair; `left` and `right` are what the server says of the sides. */
class Pair {
  clips = null;
  ready = false;
  isAgain = false; // its answer was taken back
  problem = null;

  constructor(leased, signal) {
    this.signal = signal;
    this.update(leased);
  }

  update(leased) {
    const { left, right } = leased;
    Object.assign(this, { query: leased.query, lease: leased.lease, left, right });
    this.expires = Date.parse(leased.expires_at);
    // by how long the server lets it go on from here
    this.renewAt = serverNow() + 0.5 * (this.expires - serverNow());
  }

  get rendered() {
    return [this.left, this.right].every((side) => side.clip_url || side.clip_error);
  }

  /** Loads the clips as soon as there are some; calls `done` when they can be shown, or can't. */
  prepare(done) {
    if (this.clips || !this.rendered) return;
    const clip = (side, name) =>
      makeClip(side, `${name} clip, ${count(side.length, "step")}`, this.signal);
    const clips = [clip(this.left, "Left"), clip(this.right, "Right")];
    this.clips = clips;
    Promise.all(clips.map((one) => one.ready)).then(
      () => {
        this.ready = true;
        done();
      },
      (error) => {
        this.clips = null;
        // a clip that went out of the server's cache is made again
        if (error instanceof Refused) this.left = { ...this.left, clip_url: null, clip_error: null };
        else if (!(error instanceof Unreachable)) this.problem = error.message;
        done();
      },
    );
  }
}

/** Tells "change" when there is another pair to show or the state has changed. */
export class PairQueue extends EventTarget {
  pairs = [];
  /** "loading"; "queries"; "waiting" for others; "finished"; "gone": there is no such run. */
  state = "loading";
  leftOver = 0;
  settings = null;
  #settingsAt = 0;
  #active = Date.now();
  #run;
  #annotator;
  #session;
  #signal;
  #woken = false;
  #stopWaiting = () => {};

  constructor(run, annotator, session, signal) {
    super();
    this.#run = run;
    this.#annotator = annotator;
    this.#session = session;
    this.#signal = signal;
    for (const sign of ["keydown", "pointerdown", "pointermove"]) {
      window.addEventListener(sign, () => this.#isHere(), { signal, passive: true });
    }
    document.addEventListener("visibilitychange", () => document.hidden || this.#wake(), { signal });
    this.#work();
  }

  /** The pair to show: the first whose clips are there; before all others one that was undone. */
  next() {
    if (this.settings === null) return null; // what may be said of them is not known yet
    const again = this.pairs.find((pair) => pair.isAgain && pair.rendered && !pair.problem);
    if (again) return again.ready ? again : null;
    return this.pairs.find((pair) => pair.ready) ?? null;
  }

  /** Looks now whether there is something new. */
  look() {
    this.#wake();
  }

  /** Takes a pair out that was answered. */
  remove(pair) {
    this.pairs = this.pairs.filter((other) => other !== pair);
    this.#recent = [...this.#recent, pair].slice(-RECENT);
    this.#wake();
  }

  /** Puts pairs in front that are to be answered again. */
  putFirst(leased) {
    const again = leased.map((one) => this.#remembered(one) ?? this.#known(one) ?? new Pair(one, this.#signal));
    const queries = new Set(again.map((pair) => pair.query));
    this.pairs = [...again, ...this.pairs.filter((pair) => !queries.has(pair.query))];
    for (const pair of again) {
      pair.isAgain = true;
      this.#prepare(pair);
    }
    this.#changed();
  }

  /** Puts a pair in front whose answer was never sent; the pair, or null if the server is to say. */
  takeBack(lease) {
    this.#answered = this.#answered.filter((other) => other !== lease);
    const pair = this.#recent.find((other) => other.lease === lease) ?? null;
    if (pair) {
      this.#recent = this.#recent.filter((other) => other !== pair);
      this.pairs = [pair, ...this.pairs];
      pair.isAgain = true;
    }
    this.#wake();
    return pair;
  }

  #recent = [];

  /** An answered pair, with its clips, where it is leased again as it was shown. */
  #remembered(leased) {
    const found = this.#recent.find(
      ({ query, left, right }) =>
        query === leased.query &&
        left.segment === leased.left.segment &&
        right.segment === leased.right.segment,
    );
    if (!found) return null;
    this.#recent = this.#recent.filter((pair) => pair !== found);
    found.update(leased);
    return found;
  }

  /** Lets go of all pairs: the server says that they are no longer ours. */
  forget() {
    this.pairs = [];
    this.#wake();
    this.#changed();
  }

  /** Somebody does something: their pairs stay theirs. */
  #isHere() {
    const wasAway = this.#isAway();
    this.#active = Date.now();
    if (wasAway) this.#wake();
  }

  #isAway() {
    return document.hidden || Date.now() - this.#active > IDLE;
  }

  #wake() {
    this.#woken = true;
    this.#stopWaiting();
  }

  async #work() {
    let idle = EMPTY_POLL;
    while (!this.#signal.aborted) {
      let wait = idle;
      this.#woken = false;
      try {
        if (this.#wanted()) await this.#fetch();
        idle = this.pairs.length ? EMPTY_POLL : Math.min(1.3 * idle, SLOWEST_POLL);
        wait = this.pairs.some((pair) => !pair.rendered) ? UNRENDERED_POLL : idle;
      } catch (error) {
        if (this.#signal.aborted) return;
        if (error instanceof Refused && error.status === 404) this.#setState("gone");
        else if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
      }
      if (this.#signal.aborted) return;
      if (this.#woken) continue;
      await new Promise((resolve) => {
        this.#stopWaiting = resolve;
        pause(wait, this.#signal).then(resolve);
      });
    }
  }

  /** Pairs that the server should say something new of. */
  #outdated() {
    const now = serverNow();
    return this.pairs.filter(
      (pair) => !pair.rendered || (pair.renewAt < now && !this.#isAway()),
    );
  }

  #wanted() {
    return this.pairs.length < AHEAD || this.#outdated().length > 0;
  }

  async #fetch() {
    const outdated = this.#outdated();
    const held = this.pairs.filter((pair) => !outdated.includes(pair)).map((pair) => pair.lease);
    const answered = outbox.waiting().flatMap(({ kind, said }) => (kind === "answer" ? [said.lease] : []));
    const room = Math.max(AHEAD - this.pairs.length, 0);
    const [leases, settings] = await Promise.all([
      lease(this.#run, {
        annotator: this.#annotator,
        session: this.#session,
        count: Math.min(Math.max(outdated.length + room, 1), MOST),
        holding: [...held, ...answered].slice(-MOST_HELD),
      }),
      this.#currentSettings(),
    ]);
    if (this.#signal.aborted) return;
    this.settings = settings;
    // answers may have been given while the reply was on its way
    const gone = new Set(this.#answered);
    const fresh = [];
    for (const leased of leases.queries) {
      const known = this.#known(leased);
      if (known) known.update(leased);
      else if (!gone.has(leased.lease)) fresh.push(new Pair(leased, this.#signal));
    }
    const given = new Set(leases.queries.map((leased) => leased.lease));
    // a query that comes with another lease may have its sides the other way round
    const leasedAnew = new Set(fresh.map((pair) => pair.query));
    const lost = (pair) =>
      !given.has(pair.lease) && (pair.expires < serverNow() || leasedAnew.has(pair.query));
    this.pairs = [...this.pairs.filter((pair) => !lost(pair)), ...fresh];
    for (const pair of this.pairs) this.#prepare(pair);
    this.leftOver = leases.left_over;
    this.state = this.pairs.length ? "queries" : leases.state;
    this.#changed();
  }

  async #currentSettings() {
    if (this.settings && Date.now() - this.#settingsAt < SETTINGS_LAST) return this.settings;
    const { values } = await getSettings();
    this.#settingsAt = Date.now();
    return values;
  }

  /** Leases that were answered on this page; the newest are enough. */
  #answered = [];

  markAnswered(lease) {
    this.#answered = [...this.#answered.slice(-100), lease];
  }

  #known(leased) {
    return this.pairs.find((pair) => pair.lease === leased.lease);
  }

  #prepare(pair) {
    pair.prepare(() => {
      this.#changed();
      if (!pair.rendered) this.#wake();
    });
  }

  #setState(state) {
    if (this.state === state) return;
    this.state = state;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
