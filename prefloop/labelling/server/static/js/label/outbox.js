// Answers and undos on their way. Each is kept in this browser from the key press until the server
// has said that it is on its disk; whatever happens in between, it is sent again under the same id.

import { answer, connection, pause, Refused, Unreachable, undo } from "../common/api.js";
import { owner, session } from "../common/session.js";
import { browser, whenOthersWrite } from "../common/storage.js";

const KEY = "answer.";
const REFUSED = "refused.";
const SEND = { answer, undo };
const LATER = [401, 408, 429]; // the token is wrong, perhaps tried by too many at once; or the body came too slowly

/**
 * An entry is {kind, said, run, annotator, owner, session, at, tried}: `said` is what the server is told, as
 * an "answer" or an "undo"; `owner` the participant by whose link alone it can be sent, or null; `session` the
 * tab where it was given; `tried` whether it may have arrived.
 * A refused one has `reason`, and `again`: whether it can be sent once more, since the server knew
 * nothing of what it is about: perhaps another server answers at this address than the one that asked.
 *
 * Tabs share what is kept, and any of them may send it that has the same owner.
 *
 * Tells "change" (what waits), "stored" and "undone" (detail: {entry, reply}), "refused" (detail:
 * {entry, error, undos}; the last are undos of the entry, which went with it), and "elsewhere" (an
 * answer was given in another tab; detail: {entry}).
 */
class Outbox extends EventTarget {
  #sending = false;
  #newest = 0;

  constructor() {
    super();
    whenOthersWrite((key, entry) => {
      if (key.startsWith(KEY) && entry?.kind === "answer" && !entry.tried) this.#tell("elsewhere", { entry });
      this.#changed();
    });
  }

  /** Keeps an answer or an undo, then sends it. Returns false where it will not outlive the page. */
  add(kind, said, run, annotator) {
    // in the order in which they were given, even within a millisecond
    this.#newest = Math.max(Date.now(), this.#newest + 1);
    const entry = { kind, said, run, annotator, owner: owner(), session: session(), at: this.#newest, tried: false };
    const kept = browser.write(KEY + said.id, entry);
    this.#changed();
    this.send();
    return kept;
  }

  /** What the server has not acknowledged, in order. */
  waiting() {
    return all(KEY);
  }

  /** Whether something was said in this tab, of a run and under a name. */
  isOwn(entry, run, annotator) {
    return entry.session === session() && entry.run === run && entry.annotator === annotator;
  }

  /** Drops an answer that was never sent; false where the server may have it. */
  drop(id) {
    const entry = browser.read(KEY + id);
    if (!entry || entry.tried) return false;
    browser.remove(KEY + id);
    this.#changed();
    return true;
  }

  /** Answers that the server would not take, in order. */
  refused() {
    return all(REFUSED);
  }

  /** Forgets a refused answer. */
  discard(id) {
    browser.remove(REFUSED + id);
    this.#changed();
  }

  /** Sends a refused answer once more. */
  retry(id) {
    const { reason, again, ...entry } = browser.read(REFUSED + id);
    browser.write(KEY + id, entry);
    this.discard(id);
    this.send();
  }

  /** Sends all that waits, one after the other, until nothing does. */
  async send() {
    if (this.#sending) return;
    this.#sending = true;
    try {
      for (let wait = 250; ; ) {
        const [next] = this.waiting();
        if (!next) return;
        browser.write(KEY + next.said.id, { ...next, tried: true });
        try {
          this.#done(next, await SEND[next.kind](next.said));
          wait = 250;
        } catch (error) {
          if (error instanceof Unreachable || LATER.includes(error.status)) {
            await pause(wait);
            wait = Math.min(2 * wait, 4000);
          } else if (error instanceof Refused) {
            this.#refuse(next, error);
          } else {
            throw error;
          }
        }
      }
    } finally {
      this.#sending = false;
    }
  }

  #done(entry, reply) {
    browser.remove(KEY + entry.said.id);
    this.#tell(entry.kind === "undo" ? "undone" : "stored", { entry, reply });
    this.#changed();
  }

  #refuse(entry, error) {
    // what is not stored needs no taking back, and the undo must not take back another
    const undos = this.waiting().filter(({ said }) => said.undoes === entry.said.id);
    for (const { said } of [entry, ...undos]) browser.remove(KEY + said.id);
    if (entry.kind === "answer" && !undos.length) {
      const again = error.status !== 409 && error.status !== 403; // else the server knows why not
      browser.write(REFUSED + entry.said.id, { ...entry, reason: error.message, again });
    }
    this.#tell("refused", { entry, error, undos });
    this.#changed();
  }

  #changed() {
    this.#tell("change");
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function all(start) {
  return browser
    .keys(start)
    .map((key) => browser.read(key))
    .filter((entry) => entry?.said?.id)
    // older pages kept answers only, and not of which run
    .map((entry) => ({ kind: "answer", run: "a run", owner: null, ...entry }))
    .filter((entry) => entry.owner === owner())
    .sort((one, other) => one.at - other.at);
}

export const outbox = new Outbox();

connection.addEventListener("change", () => connection.reachable && outbox.send());
