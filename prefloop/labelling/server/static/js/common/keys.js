// The keyboard: which key does what, where it is to be left alone, and the help that lists them.

import { make } from "./dom.js";

/** What can be done on the labelling page; `keys` are as KeyboardEvent.key names them, `needs` is a setting. */
export const ACTIONS = {
  left: { keys: ["ArrowLeft", "1"], help: "the left (upper) clip is better" },
  right: { keys: ["ArrowRight", "2"], help: "the right (lower) clip is better" },
  tie: { keys: ["="], help: "both are equally good", needs: "allow_ties" },
  skip: { keys: ["s"], help: "skip: can't tell", needs: "allow_skip" },
  undo: { keys: ["u"], help: "take back the last answer" },
  play: { keys: [" "], help: "play or pause" },
  back: { keys: [","], help: "one frame back", repeats: true },
  forward: { keys: ["."], help: "one frame forward", repeats: true },
  restart: { keys: ["r"], help: "from the beginning" },
  slower: { keys: ["<"], help: "play slower" },
  faster: { keys: [">"], help: "play faster" },
  microscope: { keys: ["m"], help: "show or hide what the learned reward says of each step" },
  trimStart: { keys: ["i"], help: "compare from this frame on", needs: "allow_trim" },
  trimStop: { keys: ["o"], help: "compare up to this frame", needs: "allow_trim" },
  trimReset: { keys: ["x"], help: "compare all again", needs: "allow_trim" },
};

const NAMES = { ArrowLeft: "←", ArrowRight: "→", " ": "space" };

/** How a key is written. */
export function keyName(key) {
  return NAMES[key] ?? key;
}

/** The keys of an action, for a button's face. */
export function keycaps(action) {
  const caps = ACTIONS[action].keys.map((key) => make("kbd", {}, keyName(key)));
  return make("span", { class: "keys", "aria-hidden": "true" }, caps);
}

/** The keys of an action, for screen readers. */
export function keyShortcuts(action) {
  return ACTIONS[action].keys.map((key) => (key === " " ? "Space" : key)).join(" ");
}

/** Whether the focused element has a use of its own for a key. */
export function isTaken(target, key) {
  if (!(target instanceof Element)) return false;
  if (target.closest("textarea, select, input:not([type=range]):not([type=checkbox])")) return true;
  if (target.closest("input[type=range]")) return key.startsWith("Arrow");
  if (target.closest("button, a, summary, input")) return key === " " || key === "Enter";
  return false;
}

/** Calls `act(action)` for keys until the signal says stop. */
export function listen(act, signal) {
  const actions = new Map();
  for (const [action, { keys }] of Object.entries(ACTIONS)) {
    for (const key of keys) actions.set(key, action);
  }
  const pressed = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open]")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = actions.get(key);
    if (!action || isTaken(event.target, key)) return;
    event.preventDefault();
    // a key that is held down must not answer the next pairs, too
    if (event.repeat && !ACTIONS[action].repeats) return;
    act(action);
  };
  window.addEventListener("keydown", pressed, { signal });
}

/** Opens the help on `?`, and by its button. */
export function startHelp() {
  const dialog = document.getElementById("help-dialog");
  const open = () => {
    if (!document.querySelector("dialog[open]")) dialog.showModal();
  };
  const rows = Object.entries(ACTIONS).map(([action, { help, needs }]) =>
    make("div", needs ? { "data-needs": needs } : {}, make("dt", {}, keycaps(action)), make("dd", {}, help)),
  );
  const own = make("div", {}, make("dt", {}, make("kbd", {}, "?")), make("dd", {}, "this help"));
  document.getElementById("help-keys").append(make("dl", { class: "key-list" }, rows, own));
  document.getElementById("help-button").addEventListener("click", open);
  document.getElementById("help-close").addEventListener("click", () => dialog.close());
  window.addEventListener("keydown", (event) => {
    if (event.key !== "?" || event.ctrlKey || event.metaKey || isTaken(event.target, "?")) return;
    event.preventDefault();
    if (dialog.open) dialog.close();
    else open();
  });
}

/** Leaves out of the help what the settings do not allow; null: they are not known. */
export function explain(settings) {
  for (const node of document.querySelectorAll("#help-dialog [data-needs]")) {
    node.hidden = settings !== null && !settings[node.dataset.needs];
  }
}
