// How long somebody looks at something.

export class Stopwatch {
  #seconds = 0; // before `#since`
  #since = null; // while it runs

  /** The seconds so far. */
  get seconds() {
    return this.#seconds + (this.#since === null ? 0 : (performance.now() - this.#since) / 1000);
  }

  /** Counts on, unless it does already. */
  start() {
    this.#since ??= performance.now();
  }

  /** Stands still; the seconds so far. */
  stop() {
    this.#seconds = this.seconds;
    this.#since = null;
    return this.#seconds;
  }

  /** Stands still, at nothing. */
  reset() {
    this.#seconds = 0;
    this.#since = null;
  }
}
