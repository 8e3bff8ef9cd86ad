// A pair to compare, as the server has leased it, and its two clips.

import { Refused, serverNow, Unreachable } from "../common/api.js";
import { loadClip } from "../common/clips.js";
import { Axes } from "../common/plots.js";
import { word } from "../common/words.js";

/** `left` and `right` are what the server says of the sides. */
export class Pair {
  clips = null;
  ready = false;
  said = null; // what was answered and taken back: {choice, trim}
  problem = null;
  #loading = false;

  constructor(leased, signal) {
    this.signal = signal;
    this.update(leased);
  }

  update(leased) {
    const { left, right } = leased;
    this.said = leased.said ?? this.said;
    Object.assign(this, { query: leased.query, lease: leased.lease, left, right });
    this.expiresAt = leased.expires_at;
    this.expires = Date.parse(leased.expires_at);
    // by how long the server lets it go on from here
    this.renewAt = serverNow() + 0.5 * (this.expires - serverNow());
  }

  /** Whether its answer was taken back. */
  get isAgain() {
    return this.said !== null;
  }

  get rendered() {
    return [this.left, this.right].every((side) => side.clip_url || side.clip_error);
  }

  /** Whether it is this pair that was leased, with the same clip on the left. */
  looksAs({ query, left, right }) {
    return this.query === query && this.left.segment === left.segment && this.right.segment === right.segment;
  }

  /** Loads the clips as soon as there are some; calls `done` when they can be shown, or can't. */
  prepare(done) {
    if (this.#loading || !this.rendered) return;
    this.#loading = true;
    const axes = new Axes([this.left, this.right], this.signal);
    const clip = (side, name) => loadClip(side, word(name, { steps: word("steps", { n: side.length }) }), axes, this.signal);
    Promise.all([clip(this.left, "leftClip"), clip(this.right, "rightClip")]).then(
      (clips) => {
        this.clips = clips;
        this.ready = true;
        done();
      },
      (error) => {
        this.#loading = false;
        // a clip that went out of the server's cache is made again
        if (error instanceof Refused) this.left = { ...this.left, clip_url: null, clip_error: null };
        else if (!(error instanceof Unreachable)) this.problem = error.message;
        done();
      },
    );
  }
}
