// The small pictures that an agent and its reward see, step by step: a stack of them is shown side by side.

import { getObserved, persist } from "./api.js";
import { make } from "./dom.js";

const GAP = 1; // pixels between the pictures of a stack

/** The name by which a browser keeps whether they are shown. */
export const OBSERVED = "observed";

/** How pictures of a run are observed: `stack` of them at once, `width` by `height`; null where none are. */
export function picturesOf({ obs_shape, obs_dtype, frame_stack }) {
  const stack = frame_stack ?? 1;
  const [height, width, colours, ...more] = stack > 1 ? obs_shape.slice(1) : obs_shape;
  const isPicture = obs_dtype === "uint8" && width !== undefined && [undefined, 1, 3].includes(colours) && !more.length;
  return isPicture ? { stack, width, height } : null;
}

export class ObservedFrames {
  node;
  #pictures;
  #length = 0;
  #sheet = null;
  #step = 0;

  /** `pictures` is what `picturesOf` says. */
  constructor(pictures, label) {
    this.#pictures = pictures;
    const { stack, width, height } = pictures;
    this.node = make("canvas", { class: "observed-frames", width: stack * (width + GAP) - GAP, height, role: "img", "aria-label": label });
  }

  /** Loads those of a segment, unless `isWanted` says by then that others are; rejects with `Refused` where they can't be shown. */
  async load(segment, length, isWanted, signal) {
    const sheet = await createImageBitmap(await persist(() => getObserved(segment), signal));
    if (!isWanted()) return;
    this.clear();
    this.#length = length;
    this.#sheet = sheet;
    this.show(this.#step);
  }

  /** Shows nothing. */
  clear() {
    this.#sheet?.close();
    this.#sheet = null;
    const { width, height } = this.node;
    this.node.getContext("2d").clearRect(0, 0, width, height);
    delete this.node.dataset.step;
  }

  /** Shows what is seen in a step; after the last one, that. */
  show(step) {
    this.#step = step;
    if (!this.#sheet) return;
    const at = Math.min(step, this.#length - 1);
    if (this.node.dataset.step === String(at)) return;
    const { stack, width, height } = this.#pictures;
    const columns = this.#sheet.width / width;
    const context = this.node.getContext("2d");
    for (let i = 0; i < stack; i++) {
      const frame = at + i;
      const [x, y] = [(frame % columns) * width, Math.floor(frame / columns) * height];
      context.drawImage(this.#sheet, x, y, width, height, i * (width + GAP), 0, width, height);
    }
    this.node.dataset.step = at;
  }
}
