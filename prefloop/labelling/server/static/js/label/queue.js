// The pairs to label: leased from the server some ahead of need, with their clips loaded.

import { getRunSettings, lease, pause, Refused, release, serverNow, Unreachable } from "../common/api.js";
import { session } from "../common/session.js";
import { outbox } from "./outbox.js";
import { Pair } from "./pair.js";
import { Presence } from "./presence.js";

const MOST = 8; // that the server gives at once
const MOST_HELD = 32; // that it wants to be told of
const EMPTY_POLL = 1000; // milliseconds between looks into an empty queue, at first
const SLOWEST_POLL = 4000;
const UNRENDERED_POLL = 700;
const RECENT = 6; // answered pairs that are shown at once when they are undone
const ANSWERED = 100; // leases that are known to be answered; the newest are enough
const SETTINGS_LAST = 5000; // milliseconds

/** Where pairs of a run come from: `settings()`, with what else may be `seen`, `lease(wish)` and `release(held)`. */
export function pairsOf(run, annotator, seen) {
  return {
    settings: async () => ({ ...(await getRunSettings(run)).values, ...seen }),
    lease: (wish) => lease(run, { annotator, ...wish }),
    release: (held) => release(run, { annotator, ...held }),
  };
}

/** Tells "change" when there is another pair to show or the state has changed. */
export class PairQueue extends EventTarget {
  pairs = [];
  /** "loading"; "queries"; "waiting" for others; "finished"; "gone": there is no such run; "refused": none under this name. */
  state = "loading";
  refusal = ""; // why
  leftOver = 0;
  settings = null;
  #settingsAt = 0;
  #recent = []; // answered pairs, with their clips
  #answered = []; // leases that were answered here or in another tab
  #unsent = new Map(); // by lease, what was taken back before the server heard of it
  #source;
  #signal;
  #presence; // pairs that nobody looks at are let go, so that others may have them
  #woken = false;
  #stopWaiting = () => {};

  /** `source` is where they come from, as `pairsOf` makes it. */
  constructor(source, signal) {
    super();
    this.#source = source;
    this.#signal = signal;
    this.#presence = new Presence(signal);
    this.#presence.addEventListener("back", () => this.look(), { signal });
    signal.addEventListener("abort", () => this.#letGo());
    window.addEventListener("pagehide", () => this.#letGo(), { signal });
    window.addEventListener("pageshow", ({ persisted }) => persisted && this.forget(), { signal });
    outbox.addEventListener("elsewhere", ({ detail }) => this.#answeredElsewhere(detail.entry), { signal });
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
    this.#woken = true;
    this.#stopWaiting();
  }

  /** Takes a pair out that was answered. */
  answered(pair) {
    this.#markAnswered(pair.lease);
    this.pairs = this.pairs.filter((other) => other !== pair);
    this.#recent = [...this.#recent, pair].slice(-RECENT);
    this.look();
  }

  /** Puts pairs in front that are to be answered again. */
  putFirst(leased) {
    const again = leased.map((one) => this.#remembered(one) ?? this.#known(one) ?? new Pair(one, this.#signal));
    again.forEach((pair, i) => pair.update(leased[i]));
    const queries = new Set(again.map((pair) => pair.query));
    this.pairs = [...again, ...this.pairs.filter((pair) => !queries.has(pair.query))];
    for (const pair of again) this.#prepare(pair);
    this.#changed();
  }

  /** Puts a pair in front whose answer, `said`, was never sent; after a reload the server gives it. */
  takeBack({ lease, choice, trim }) {
    this.#answered = this.#answered.filter((other) => other !== lease);
    this.#unsent.set(lease, { choice, trim });
    const pair = this.#recent.find((other) => other.lease === lease);
    if (pair) {
      this.#recent = this.#recent.filter((other) => other !== pair);
      this.pairs = [pair, ...this.pairs];
      pair.said = this.#unsent.get(lease);
    }
    this.look();
  }

  /** Lets go of all pairs, since the server knows better; that of `refused` was not answered after all. */
  forget(refused = null) {
    this.#answered = this.#answered.filter((lease) => lease !== refused);
    this.pairs = [];
    this.look();
    this.#changed();
  }

  /** At a queue's end two tabs of one annotator have the same pairs. */
  #answeredElsewhere({ said }) {
    this.#markAnswered(said.lease);
    if (!this.#known(said)) return;
    this.pairs = this.pairs.filter((pair) => pair.lease !== said.lease);
    this.look();
    this.#changed();
  }

  /** Gives back what nobody will look at here any more, so that others need not wait for it. */
  #letGo() {
    const leases = this.pairs.map(({ lease, expiresAt }) => ({ lease, expires_at: expiresAt }));
    if (!leases.length) return;
    this.#source.release({ session: session(), leases: leases.slice(0, MOST_HELD) });
  }

  #markAnswered(lease) {
    this.#answered = [...this.#answered, lease].slice(-ANSWERED);
  }

  /** An answered pair, with its clips, where it is leased again as it was shown. */
  #remembered(leased) {
    const found = this.#recent.find((pair) => pair.looksAs(leased));
    if (!found) return null;
    this.#recent = this.#recent.filter((pair) => pair !== found);
    return found;
  }

  #known({ lease }) {
    return this.pairs.find((pair) => pair.lease === lease);
  }

  async #work() {
    let idle = EMPTY_POLL;
    while (!this.#signal.aborted) {
      let wait = idle;
      this.#woken = false;
      try {
        if (this.pairs.length < this.#ahead || this.#outdated().length) await this.#fetch();
        idle = this.pairs.length ? EMPTY_POLL : Math.min(1.3 * idle, SLOWEST_POLL);
        wait = this.pairs.some((pair) => !pair.rendered) ? UNRENDERED_POLL : idle;
      } catch (error) {
        if (this.#signal.aborted) return;
        if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
        if ([404, 409].includes(error.status)) this.#setNone("gone"); // or archived
        if ([403, 422].includes(error.status)) this.#setNone("refused", error.message); // a participant's name, or none
      }
      if (this.#signal.aborted) return;
      if (this.#woken) continue;
      await new Promise((resolve) => {
        this.#stopWaiting = resolve;
        pause(wait, this.#signal).then(resolve);
      });
    }
  }

  /** How many pairs to hold, with the one that is shown. */
  get #ahead() {
    return this.settings?.pairs_ahead ?? 1;
  }

  /** Pairs that the server should say something new of. */
  #outdated() {
    const now = serverNow();
    return this.pairs.filter((pair) => !pair.rendered || (pair.renewAt < now && !this.#presence.isAway));
  }

  async #fetch() {
    this.settings ??= await this.#currentSettings(); // which say how many pairs to hold
    const outdated = this.#outdated();
    const held = this.pairs.filter((pair) => !outdated.includes(pair)).map((pair) => pair.lease);
    const answered = outbox.waiting().flatMap(({ kind, said }) => (kind === "answer" ? [said.lease] : []));
    const room = Math.max(this.#ahead - this.pairs.length, 0);
    const [leases, settings] = await Promise.all([
      this.#source.lease({
        session: session(),
        count: Math.min(Math.max(outdated.length + room, 1), MOST),
        holding: [...held, ...answered].slice(-MOST_HELD),
      }),
      this.#currentSettings(),
    ]);
    if (this.#signal.aborted) return;
    this.settings = settings;
    this.#take(leases);
  }

  /** Brings the pairs up to what the server has given; answers may have been given meanwhile. */
  #take({ queries, state, left_over }) {
    const answered = new Set(this.#answered);
    const fresh = [];
    for (const leased of queries) {
      const known = this.#known(leased);
      if (known) known.update(leased);
      else if (!answered.has(leased.lease)) fresh.push(this.#fresh(leased));
    }
    const given = new Set(queries.map((leased) => leased.lease));
    // a query that comes with another lease may have its sides the other way round
    const leasedAnew = new Set(fresh.map((pair) => pair.query));
    const isLost = (pair) =>
      !given.has(pair.lease) && (pair.expires < serverNow() || leasedAnew.has(pair.query));
    this.pairs = [...this.pairs.filter((pair) => !isLost(pair)), ...fresh];
    for (const pair of this.pairs) this.#prepare(pair);
    this.leftOver = left_over;
    this.state = this.pairs.length ? "queries" : state;
    this.#changed();
  }

  #fresh(leased) {
    return new Pair({ ...leased, said: leased.said ?? this.#unsent.get(leased.lease) }, this.#signal);
  }

  async #currentSettings() {
    if (this.settings && Date.now() - this.#settingsAt < SETTINGS_LAST) return this.settings;
    const values = await this.#source.settings();
    this.#settingsAt = Date.now();
    return values;
  }

  #prepare(pair) {
    pair.prepare(() => {
      this.#changed();
      if (!pair.rendered) this.look();
    });
  }

  #setNone(state, refusal = "") {
    if (this.state === state) return;
    [this.state, this.refusal] = [state, refusal];
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
