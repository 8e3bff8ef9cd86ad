// Whether somebody is at the page.

const IDLE = 300_000; // milliseconds without a key or a pointer, after which nobody is

/** Tells "back" when somebody is, who was not. */
export class Presence extends EventTarget {
  #active = Date.now();

  constructor(signal) {
    super();
    for (const sign of ["keydown", "pointerdown", "pointermove"]) {
      window.addEventListener(sign, () => this.#isHere(), { signal, passive: true });
    }
    document.addEventListener("visibilitychange", () => document.hidden || this.#back(), { signal });
  }

  get isAway() {
    return document.hidden || Date.now() - this.#active > IDLE;
  }

  #isHere() {
    const wasAway = this.isAway;
    this.#active = Date.now();
    if (wasAway) this.#back();
  }

  #back() {
    this.dispatchEvent(new Event("back"));
  }
}
