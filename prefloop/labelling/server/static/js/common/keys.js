// The keyboard: which key does what, where it is to be left alone, and the help that lists them.

import { make } from "./dom.js";
import { inWords, word } from "./words.js";

const ANSWERING = "keysAnswering";
const WATCHING = "keysWatching";
const TRIMMING = "keysTrimming";

/**
 * What can be done on the labelling page; `keys` are as KeyboardEvent.key names them, `needs` is a setting. `help` stands
 * where participants of studies never read it, and is not among the page's words.
 */
export const ACTIONS = {
  left: { group: ANSWERING, keys: ["ArrowLeft", "1"] },
  right: { group: ANSWERING, keys: ["ArrowRight", "2"] },
  tie: { group: ANSWERING, keys: ["="], needs: "allow_ties" },
  skip: { group: ANSWERING, keys: ["s"], needs: "allow_skip" },
  undo: { group: ANSWERING, keys: ["u"] },
  play: { group: WATCHING, keys: [" "] },
  back: { group: WATCHING, keys: [","], repeats: true },
  forward: { group: WATCHING, keys: ["."], repeats: true },
  restart: { group: WATCHING, keys: ["r"] },
  slower: { group: WATCHING, keys: ["<"] },
  faster: { group: WATCHING, keys: [">"] },
  microscope: { group: WATCHING, keys: ["m"], help: "show or hide what the learned reward says of each step", needs: "sees_reward" },
  observed: { group: WATCHING, keys: ["v"], needs: "sees_observed" },
  trimStart: { group: TRIMMING, keys: ["i"], needs: "allow_trim" },
  trimStop: { group: TRIMMING, keys: ["o"], needs: "allow_trim" },
  trimReset: { group: TRIMMING, keys: ["x"], needs: "allow_trim" },
};

/** What keys do on other pages, or on every one. */
const ELSEWHERE = [
  { keys: ["Tab"], help: "to the next button, link or field" },
  { keys: ["/"], help: "search the list of runs" },
  { keys: ["←", "→"], help: "a step back or on, in the curve of a reward" },
  { keys: ["?"], help: "open or close this help; Keys under a comparison lists those that play it" },
  { keys: ["Esc"], help: "close what is open" },
];

const NAMES = { ArrowLeft: "←", ArrowRight: "→" };

/** How a key is written. */
function keyName(key) {
  return key === " " ? word("keySpace") : (NAMES[key] ?? key);
}

/** What an action is for, such as "one frame back". */
export function helpOf(action) {
  return ACTIONS[action].help ?? word(`key${action[0].toUpperCase()}${action.slice(1)}`);
}

/** The keys of an action, for a button's face. */
export function keycaps(action) {
  return make("span", { class: "keys", "aria-hidden": "true" }, caps(ACTIONS[action].keys));
}

function caps(keys) {
  return keys.map((key) => make("kbd", {}, keyName(key)));
}

/** The keys of an action, for screen readers. */
export function keyShortcuts(action) {
  return ACTIONS[action].keys.map((key) => (key === " " ? "Space" : key)).join(" ");
}

/** Which key was pressed, with caps lock or without. */
export function keyOf({ key }) {
  return key.length === 1 ? key.toLowerCase() : key;
}

/** Whether the focused element has a use of its own for a key. */
export function isTaken(target, key) {
  if (!(target instanceof Element)) return false;
  if (target.closest("textarea, select, input:not([type=range]):not([type=checkbox])")) return true;
  if (target.closest("input[type=range], [role=slider]")) return key.startsWith("Arrow");
  if (target.closest("video[controls]")) return key === " " || key.startsWith("Arrow");
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
    const key = keyOf(event);
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
    if (document.querySelector("dialog[open]")) return;
    dialog.showModal();
    dialog.scrollTop = 0; // the button that has the focus stands at the end
  };
  const actions = Object.keys(ACTIONS);
  const rowsOf = (group) => actions.filter((action) => ACTIONS[action].group === group).map((action) => ({ ...ACTIONS[action], help: helpOf(action) }));
  inWords(() => {
    document.getElementById("help-keys").replaceChildren(
      ...[ANSWERING, WATCHING, TRIMMING].map((group) => keyGroup(word(group), rowsOf(group))),
      keyGroup("Moving about", ELSEWHERE, "elsewhere"),
    );
  });
  document.getElementById("help-button").addEventListener("click", open);
  document.getElementById("help-close").addEventListener("click", () => dialog.close());
  window.addEventListener("keydown", (event) => {
    if (event.key !== "?" || event.ctrlKey || event.metaKey || isTaken(event.target, "?")) return;
    event.preventDefault();
    if (dialog.open) dialog.close();
    else open();
  });
}

/** A part of the help; it goes where the settings allow nothing in it. */
function keyGroup(title, rows, kind = "") {
  const shared = rows.every(({ needs }) => needs && needs === rows[0].needs) ? rows[0].needs : null;
  return make(
    "section",
    { class: `key-group ${kind}`, "data-needs": shared },
    make("h3", {}, title),
    make(
      "dl",
      { class: "key-list" },
      rows.map(({ keys, help, needs }) =>
        make(
          "div",
          { "data-needs": needs },
          make("dt", {}, make("span", { class: "keys" }, caps(keys))),
          make("dd", {}, help),
        ),
      ),
    ),
  );
}

/** Leaves out of the help what the settings do not allow; null: they are not known. */
export function explain(settings) {
  for (const node of document.querySelectorAll("#help-dialog [data-needs]")) {
    node.hidden = settings !== null && !settings[node.dataset.needs];
  }
}
