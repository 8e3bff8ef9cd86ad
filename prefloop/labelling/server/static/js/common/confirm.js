// A question before something is deleted for good: whoever types its name has said yes.

import { count, make } from "./dom.js";
import { mistakeLine, orSay } from "./mistake.js";

/**
 * Asks; `act(checked)` deletes, and is told whether the box was ticked, if there is one that says `option`. Where nothing of
 * worth is lost, `typed` is false and the name need not be typed.
 */
export function askToDelete({ title, text, name, button, act, option = null, typed = true }) {
  const mistake = mistakeLine();
  const field = make("input", { id: "confirm-typed", autocomplete: "off", spellcheck: "false" });
  const box = option ? make("input", { type: "checkbox", id: "confirm-option" }) : null;
  const last = make("button", { type: "submit", class: "danger", disabled: typed }, button);
  field.addEventListener("input", () => (last.disabled = field.value.trim() !== name));
  const end = async (event) => {
    event.preventDefault();
    if (last.disabled) return;
    last.disabled = true;
    if (await orSay(mistake, () => act(box?.checked ?? false))) dialog.close();
    else last.disabled = false;
  };
  const dialog = make(
    "dialog",
    { id: "confirm-dialog", "aria-labelledby": "confirm-title", "aria-describedby": "confirm-lost", onclose: () => dialog.remove() },
    make(
      "form",
      { onsubmit: end },
      make("h2", { id: "confirm-title" }, title),
      make("p", { id: "confirm-lost" }, text),
      box ? make("p", {}, box, " ", make("label", { for: "confirm-option" }, option)) : null,
      ...(typed ? [make("label", { for: "confirm-typed" }, `Type ${name} to delete it`), field] : []),
      mistake,
      make("div", { class: "buttons" }, make("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel"), last),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  (typed ? field : last).focus();
}

/** Asks whether all that is stored of somebody is to be deleted; `done()` is called when it is. */
export function askToForget(name, stored, forget, done) {
  const said = `${count(stored.answers, "answer")}, ${count(stored.skips, "skip")} and ${count(stored.taken_back, "answer")} taken back, in ${count(stored.runs.length, "run")}`;
  const place = stored.participant ? `, with their link and what is known of them in the study ${stored.participant.study}` : "";
  askToDelete({
    title: `Delete all that is stored of ${name}?`,
    text: `${said}${place}, would be gone for good, and their pairs asked again. Backups, exports, what trainers keep in their folders and rewards that learned from it stay as they are.`,
    name,
    button: "Delete for good",
    act: async () => {
      await forget(name);
      await done();
    },
  });
}
