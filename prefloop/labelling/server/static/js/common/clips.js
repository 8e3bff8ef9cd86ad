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
import { VideoClip } from "./video.js";

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

/** A clip of a side, as the server describes it. */
export function makeClip(side, label, signal) {
  return side.clip_url
    ? new VideoClip(loadVideo(side.clip_url, signal), side.length, label)
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
