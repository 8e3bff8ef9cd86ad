// What the steps of a study are made of.

import { make } from "../common/dom.js";
import { mistakeLine, orSay } from "../common/mistake.js";
import { word } from "../common/words.js";

/** A card with a title, on its own page; `lines` are nodes under it. */
export function card(title, ...lines) {
  return make("section", { class: "card study-card" }, make("h1", { tabindex: "-1" }, title), ...lines);
}

/** A text of the researcher's. */
export function prose(nodes) {
  return make("div", { class: "prose" }, nodes);
}

/** A button that does something which may be refused; `mistake` is where a refusal is told. */
export function action(text, job, mistake, attributes = {}) {
  const button = make("button", { type: "button", ...attributes, onclick: async () => {
    button.disabled = true;
    try {
      await orSay(mistake, job);
    } finally {
      button.disabled = false;
    }
  } }, text);
  return button;
}

/** A row of buttons at a card's end. */
export function buttons(...nodes) {
  return make("div", { class: "buttons" }, nodes);
}

/** A button that asks once more, and then ends somebody's part. */
export function leaveButton(leave) {
  const mistake = mistakeLine();
  const dialog = make("dialog", { class: "leave-dialog", "aria-label": word("leave") },
    make("p", {}, word("leaveAsk")),
    mistake,
    buttons(
      make("button", { type: "button", class: "primary", onclick: () => dialog.close() }, word("stay")),
      action(word("reallyLeave"), async () => { await leave(); dialog.close(); }, mistake, { class: "danger" }),
    ));
  const button = make("button", { type: "button", class: "quiet leave", onclick: () => dialog.showModal() }, word("leave"));
  return make("div", { class: "leaving" }, button, dialog);
}
