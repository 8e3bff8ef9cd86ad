// How long somebody looks at something.

export class Stopwatch {
  #seconds = 0; // before `#since`
  #since = null; // while it runs

  /** Counts on, unless it does already. */
  start() {
    this.#since ??= performance.now();
  }

  /** Stands still; the seconds so far. */
  stop() {
    if (this.#since !== null) this.#seconds += (performance.now() - this.#since) / 1000;
    this.#since = null;
    return this.#seconds;
  }

  /** Stands still, at nothing. */
  reset() {
    this.#seconds = 0;
    this.#since = null;
  }
}
