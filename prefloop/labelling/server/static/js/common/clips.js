// One clip on the page: a video, or a plotted trace where there is no video.
//
// Both kinds have the same face. Places are in steps: 12.3 is a third into what step 12 shows.
//   node         what is to be put on the page
//   length       steps
//   ready        resolves when the first frame can be shown; rejects if there will be none
//   moves        whether it keeps time by itself (a video), or is drawn at a place (a trace)
//   place()      where it is
//   seek(place)  resolves when that place is shown
//   play()       rejects where the browser won't
//   pause(), setRate(steps per second)

import { getClip, getSegment, persist } from "./api.js";
import { draw, make } from "./dom.js";

const KEPT = 48; // videos in memory: those shown lately come back at once when an answer is undone

const videos = new Map(); // by address, the least recently used first

/** A video's bytes as an address that a <video> can play. */
function loadVideo(url, signal) {
  let found = videos.get(url);
  if (found) videos.delete(url);
  else {
    found = persist(() => getClip(url), signal).then((blob) => URL.createObjectURL(blob));
    found.catch(() => videos.delete(url));
  }
  videos.set(url, found);
  for (const [old, address] of videos) {
    if (videos.size <= KEPT) break;
    videos.delete(old);
    address.then(URL.revokeObjectURL, () => {});
  }
  return found;
}

export class VideoClip {
  moves = true;
  #wanted = null;
  #shown = [];

  constructor(url, length, label, signal) {
    this.length = length;
    this.node = make("video", { preload: "auto", playsinline: true, tabindex: "-1", "aria-label": label });
    this.node.muted = true; // by the property, or else browsers won't start it by themselves
    this.node.disablePictureInPicture = true;
    this.ready = this.#load(url, signal);
    this.ready.catch(() => {});
    this.node.addEventListener("seeked", () => this.#seeked());
  }

  async #load(url, signal) {
    this.node.src = await loadVideo(url, signal);
    await new Promise((resolve, reject) => {
      this.node.addEventListener("loadeddata", resolve, { once: true });
      const failed = () => reject(new Error("This browser can't play the clip."));
      this.node.addEventListener("error", failed, { once: true });
    });
    this.seconds = this.node.duration / this.length; // of a step
  }

  place() {
    if (this.node.ended) return this.length;
    return Math.min(this.node.currentTime / this.seconds, this.length);
  }

  seek(place) {
    // into the middle of a frame, since its edge may be rounded to either side
    const step = Math.min(Math.floor(place), this.length - 1);
    this.#wanted = (step + 0.5) * this.seconds;
    return new Promise((resolve) => {
      this.#shown.push(resolve);
      if (!this.node.seeking) this.#goOn();
    });
  }

  #goOn() {
    this.node.currentTime = this.#wanted;
    this.#wanted = null;
  }

  #seeked() {
    if (this.#wanted !== null) {
      this.#goOn(); // somebody drags: go where they are now
      return;
    }
    for (const resolve of this.#shown.splice(0)) resolve();
  }

  play() {
    return this.node.play();
  }

  pause() {
    this.node.pause();
  }

  setRate(stepsPerSecond) {
    const rate = Math.min(Math.max(stepsPerSecond * this.seconds, 0.0625), 16);
    if (Math.abs(this.node.playbackRate - rate) > 1e-3) this.node.playbackRate = rate;
  }
}

/** A clip of a side, as the server describes it. */
export function makeClip(side, label, signal) {
  return side.clip_url
    ? new VideoClip(side.clip_url, side.length, label, signal)
    : new TraceClip(side, label, signal);
}

const WIDTH = 480;
const HEIGHT = 320;
const MAX_LINES = 12;

export class TraceClip {
  moves = false;
  seconds = null;
  #place = 0;
  #plot;
  #cursor = draw("line", { class: "trace-cursor", y1: 0, y2: HEIGHT });

  constructor(side, label, signal) {
    this.length = side.length;
    this.node = make("div", { class: "trace" });
    this.#plot = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
    this.node.append(this.#plot);
    this.ready = persist(() => getSegment(side.segment), signal).then((segment) => this.#draw(segment));
    this.ready.catch(() => {});
  }

  #draw({ obs, actions, discrete }) {
    const action = actions.map((value) => (discrete ? [value] : value));
    const rows = [
      ...obs[0].map((_, i) => [`obs ${i}`, obs.map((row) => row[i])]),
      ...action[0].map((_, i) => [discrete ? "action" : `action ${i}`, action.map((row) => row[i])]),
    ].slice(-MAX_LINES);
    const height = HEIGHT / rows.length;
    rows.forEach(([name, values], row) => {
      const low = Math.min(...values);
      const range = Math.max(...values) - low || 1;
      const points = values.map((value, step) => {
        const y = (row + 0.9 - (0.8 * (value - low)) / range) * height;
        return `${this.#x(step + 0.5).toFixed(1)},${y.toFixed(1)}`;
      });
      this.#plot.append(
        draw("polyline", { class: "trace-line", points: points.join(" ") }),
        draw("text", { x: 4, y: row * height + 12 }, name),
      );
    });
    this.#plot.append(this.#cursor);
    this.seek(0);
  }

  #x(place) {
    return (place / this.length) * WIDTH;
  }

  place() {
    return this.#place;
  }

  seek(place) {
    this.#place = Math.min(place, this.length);
    const x = this.#x(Math.min(Math.floor(place) + 0.5, this.length));
    this.#cursor.setAttribute("x1", x);
    this.#cursor.setAttribute("x2", x);
    return Promise.resolve();
  }

  play() {
    return Promise.resolve();
  }

  pause() {}

  setRate() {}
}
