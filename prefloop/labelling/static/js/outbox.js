// Answers on their way. Each is kept in this browser from the key press until the server has said
// that it is on its disk; whatever happens in between, it is sent again under the same id.

import { answer, connection, pause, Refused, Unreachable } from "./api.js";
import { browser } from "./storage.js";

const KEY = "answer.";

/**
 * Tells "change" (how many wait), "stored" and "refused" (detail: {entry, error}).
 * Entries that the server knows nothing of are kept aside, not dropped: perhaps another server
 * answers at this address than the one that asked.
 */
class Outbox extends EventTarget {
  #sending = false;
  #newest = 0;

  /** Keeps an answer, then sends it. Returns false where it will not outlive the page. */
  add(said) {
    // in the order in which they were given, even within a millisecond
    this.#newest = Math.max(Date.now(), this.#newest + 1);
    const kept = browser.write(KEY + said.id, { said, at: this.#newest, aside: null });
    this.#changed();
    this.send();
    return kept;
  }

  /** Answers that the server has not acknowledged, in order. */
  waiting() {
    return this.#all().filter((entry) => !entry.aside);
  }

  /** Answers that the server would not take. */
  aside() {
    return this.#all().filter((entry) => entry.aside);
  }

  /** Sends what was kept aside once more. */
  retryAside() {
    for (const entry of this.aside()) browser.write(KEY + entry.said.id, { ...entry, aside: null });
    this.#changed();
    this.send();
  }

  discardAside() {
    for (const entry of this.aside()) browser.remove(KEY + entry.said.id);
    this.#changed();
  }

  /** Waits until everything is acknowledged. */
  async settled() {
    while (this.waiting().length) {
      this.send();
      await new Promise((resolve) => this.addEventListener("change", resolve, { once: true }));
    }
  }

  /** Sends all that waits, one after the other, until nothing does. */
  async send() {
    if (this.#sending) return;
    this.#sending = true;
    try {
      for (let wait = 250; ; ) {
        const [next] = this.waiting();
        if (!next) return;
        try {
          await answer(next.said);
          this.#done(next);
          wait = 250;
        } catch (error) {
          if (error instanceof Unreachable || error.status === 401 || error.status === 408) {
            await pause(wait);
            wait = Math.min(2 * wait, 4000);
          } else if (error instanceof Refused) {
            this.#refused(next, error);
          } else {
            throw error;
          }
        }
      }
    } finally {
      this.#sending = false;
    }
  }

  #done(entry) {
    browser.remove(KEY + entry.said.id);
    this.dispatchEvent(new CustomEvent("stored", { detail: { entry } }));
    this.#changed();
  }

  #refused(entry, error) {
    if (error.status === 409 || error.status === 403) {
      browser.remove(KEY + entry.said.id); // the server knows the query, and why it can't be
    } else {
      browser.write(KEY + entry.said.id, { ...entry, aside: error.message });
    }
    this.dispatchEvent(new CustomEvent("refused", { detail: { entry, error } }));
    this.#changed();
  }

  #all() {
    return browser
      .keys(KEY)
      .map((key) => browser.read(key))
      .filter((entry) => entry?.said?.id)
      .sort((one, other) => one.at - other.at);
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

export const outbox = new Outbox();

connection.addEventListener("change", () => connection.reachable && outbox.send());
