// Plays two clips in step, over and over.
//
// The slower clip keeps the time; the one that is ahead is played a little slower until they are in
// step again. The shorter clip waits at its end for the longer one, and both begin again together.

const HOLD = 450; // milliseconds on the last frame, so that an end is seen as one
const SPEEDS = [0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 10];
const STEPS_PER_SECOND = 30; // of traces, which have no time of their own
const SHORTEST = 1; // seconds: in less nobody sees what is done

const REDUCED = window.matchMedia("(prefers-reduced-motion: reduce)");

/** Whether nothing is to move before somebody asks for it. */
export function calm() {
  return REDUCED.matches;
}

/** Seconds that a step of clips lasts at a speed of 1. */
function secondsOfStep(clips) {
  return clips.find((clip) => clip.seconds)?.seconds ?? 1 / STEPS_PER_SECOND;
}

/** The speed that clips begin with: the given one, or a slower one if they were over in no time. */
export function beginningSpeed(speed, clips) {
  const seconds = secondsOfStep(clips) * Math.max(...clips.map((clip) => clip.length));
  if (seconds / speed >= SHORTEST) return speed;
  return SPEEDS.findLast((slower) => slower < speed && seconds / slower >= SHORTEST) ?? SPEEDS[0];
}

/** Tells "change" when what it shows has changed. */
export class Player extends EventTarget {
  clips = [];
  playing = false;
  speed = 1;
  start = 0;
  stop = 0;
  #place = 0;
  #busy = 0; // seeks that are under way
  #turn = 0; // counts shows and seeks: what was begun before the newest is stale
  #holdUntil = null;
  #frame = null;
  #last = 0;

  /** Steps of the longer clip. */
  get length() {
    return Math.max(0, ...this.clips.map((clip) => clip.length));
  }

  /** Steps of the shorter clip. */
  get shorter() {
    return Math.min(...this.clips.map((clip) => clip.length));
  }

  /** The step that is shown. */
  get step() {
    return Math.min(Math.floor(this.#place), Math.max(this.stop - 1, 0));
  }

  /** Shows clips at their beginning, and plays them from there; all must be ready. */
  show(clips, playing = true) {
    this.hide();
    this.clips = clips;
    this.start = 0;
    this.stop = this.length;
    this.playing = playing;
    this.#last = performance.now();
    this.#frame = requestAnimationFrame((now) => this.#tick(now));
    return this.#goTo(0);
  }

  /** Shows nothing. */
  hide() {
    this.#turn += 1;
    this.#busy = 0;
    this.#holdUntil = null;
    cancelAnimationFrame(this.#frame);
    for (const clip of this.clips) clip.pause();
    this.clips = [];
    this.#place = 0;
  }

  play() {
    if (this.playing) return;
    this.playing = true;
    this.#goTo(this.#place >= this.stop - 1 || this.#place < this.start ? this.start : this.#place);
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    this.#goTo(this.step); // both at the same step, exactly
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  restart() {
    this.#goTo(this.start);
  }

  /** Pauses and goes some steps on or back, round within what is compared. */
  move(steps) {
    this.playing = false;
    const range = this.stop - this.start;
    const within = (((this.step + steps - this.start) % range) + range) % range;
    this.#goTo(this.start + within);
  }

  /** Pauses and shows a step. */
  scrub(step) {
    this.playing = false;
    this.#goTo(step);
  }

  /** Plays only the steps from `start` up to but without `stop`. */
  setRange(start, stop) {
    this.start = Math.max(0, Math.min(start, this.shorter - 1));
    this.stop = Math.max(this.start + 1, Math.min(stop, this.length));
    this.#changed();
    if (this.playing) this.#goTo(this.start);
  }

  /** One of the speeds; `direction` is 1 or -1. */
  changeSpeed(direction) {
    const next =
      direction > 0
        ? SPEEDS.find((speed) => speed > this.speed + 1e-6)
        : SPEEDS.findLast((speed) => speed < this.speed - 1e-6);
    if (next !== undefined) this.setSpeed(next);
  }

  setSpeed(speed) {
    this.speed = speed;
    this.#setRates();
    this.#changed();
  }

  #stepsPerSecond() {
    return this.speed / secondsOfStep(this.clips);
  }

  #setRates() {
    for (const clip of this.clips) clip.setRate(this.#stepsPerSecond());
  }

  /** Shows a place on both clips; goes on from there if it plays. */
  async #goTo(place) {
    const turn = ++this.#turn;
    this.#place = place;
    this.#holdUntil = null;
    this.#busy += 1;
    for (const clip of this.clips) clip.pause();
    this.#changed();
    await Promise.all(this.clips.map((clip) => clip.seek(place)));
    if (turn !== this.#turn) return;
    this.#busy = 0;
    if (!this.playing) return;
    this.#setRates();
    for (const clip of this.clips) {
      if (place < clip.length) clip.play().catch((error) => this.#notPlayed(error));
    }
  }

  /** A phone that saves energy plays nothing before it is asked to by hand. */
  #notPlayed(error) {
    if (error.name !== "NotAllowedError" || !this.playing) return;
    this.playing = false;
    this.#changed();
  }

  #tick(now) {
    this.#frame = requestAnimationFrame((later) => this.#tick(later));
    const elapsed = Math.min(now - this.#last, 100) / 1000;
    this.#last = now;
    if (!this.playing || this.#busy) return;
    if (this.#holdUntil !== null) {
      if (now >= this.#holdUntil) this.#goTo(this.start);
      return;
    }
    this.#advance(elapsed);
    if (this.#place >= this.stop - 0.02) this.#end(now);
    else this.#changed();
  }

  #advance(elapsed) {
    const rate = this.#stepsPerSecond();
    const moving = this.clips.filter((clip) => clip.moves && this.#place < clip.length - 0.02);
    if (moving.length) {
      const slowest = Math.min(...moving.map((clip) => clip.place()));
      this.#place = Math.max(this.#place, slowest);
      for (const clip of moving) {
        const lead = clip.place() - slowest;
        clip.setRate(rate * (1 - Math.min(lead / 4, 0.6)));
      }
    } else {
      this.#place += elapsed * rate;
    }
    for (const clip of this.clips) if (!clip.moves) clip.seek(this.#place);
  }

  #end(now) {
    this.#holdUntil = now + HOLD / Math.max(this.speed, 1);
    this.#place = this.stop;
    for (const clip of this.clips) {
      clip.pause();
      // a video may have gone a frame too far before it was stopped
      if (this.stop < clip.length) clip.seek(this.stop - 1);
    }
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
