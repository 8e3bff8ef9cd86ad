// A clip that is a video, with the face that clips.js describes.

import { make } from "./dom.js";
import { word } from "./words.js";

export class VideoClip {
  moves = true;
  #wanted = null;
  #shown = [];
  #lasts; // so many steps: its last frame as long as the others

  /** `address` is, or resolves to, what a <video> can play; `length` is in steps, some of which share a frame. */
  constructor(address, length, label, stepsPerFrame = 1) {
    this.length = length;
    this.#lasts = Math.ceil(length / stepsPerFrame) * stepsPerFrame;
    this.node = make("video", { preload: "auto", playsinline: true, tabindex: "-1", "aria-label": label });
    this.node.muted = true; // by the property, or else browsers won't start it by themselves
    this.node.disablePictureInPicture = true;
    this.ready = this.#load(address);
    this.ready.catch(() => {});
    this.node.addEventListener("seeked", () => this.#seeked());
  }

  async #load(address) {
    this.node.src = await address;
    await new Promise((resolve, reject) => {
      this.node.addEventListener("loadeddata", resolve, { once: true });
      const failed = () => reject(new Error(word("cantPlay")));
      this.node.addEventListener("error", failed, { once: true });
    });
    this.seconds = this.node.duration / this.#lasts; // of a step
    this.aspect = this.node.videoWidth / this.node.videoHeight;
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
