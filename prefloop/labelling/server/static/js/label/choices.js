// The answers that can be given of a pair: their buttons, with the one that takes an answer back.

import { keyButton } from "../common/controls.js";
import { make } from "../common/dom.js";
import { ACTIONS } from "../common/keys.js";
import { word } from "../common/words.js";
import { flash } from "./flash.js";
import { nameOf, sideName } from "./stage.js";

const CHOICES = ["left", "right", "tie", "skip"];
const OTHERS = { tie: "tie", skip: "skipped" };

/** Whether what somebody wants to do is to answer. */
export function isChoice(action) {
  return CHOICES.includes(action);
}

/** "Left is better", "Both equal". */
export function choiceText(choice) {
  return word(OTHERS[choice] ?? `${nameOf(choice)}Better`);
}

/** The same within a sentence: "left is better". */
export function saidText(choice) {
  const name = choice in OTHERS ? choice : nameOf(choice);
  return word(`said${name[0].toUpperCase()}${name.slice(1)}`);
}

/** Whether the settings let annotators say so. */
export function isAllowed(choice, settings) {
  const { needs } = ACTIONS[choice];
  return needs === undefined || settings[needs];
}

export class Choices {
  node;
  #buttons = {};

  /** `act(action)` does what a key would. */
  constructor(act) {
    const button = (action, kind, ...face) =>
      (this.#buttons[action] = keyButton(action, act, { class: `choice ${kind}` }, ...face));
    this.node = make(
      "div",
      { class: "choices", role: "group", "aria-label": word("which") },
      button("left", "left", sideName("left", "Better")),
      make(
        "div",
        { class: "between" },
        button("tie", "tie", word("equalButton")),
        button("skip", "skip", word("skipButton")),
        button("undo", "undo", word("undoButton")),
      ),
      button("right", "right", sideName("right", "Better")),
    );
  }

  /** Shows what the settings allow (null: not known yet), what can be done now, and what was chosen before. */
  show(settings, canAnswer, canUndo, before) {
    const focused = document.activeElement;
    for (const choice of CHOICES) {
      const button = this.#buttons[choice];
      button.hidden = settings !== null && !isAllowed(choice, settings);
      button.setAttribute("aria-disabled", String(!canAnswer));
      if (choice === before) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    if (this.node.contains(focused) && focused.hidden) this.#buttons.left.focus();
    this.#buttons.undo.setAttribute("aria-disabled", String(!canUndo));
  }

  /** Lights the button of what was chosen. */
  flash(choice) {
    flash(this.#buttons[choice]);
  }
}
