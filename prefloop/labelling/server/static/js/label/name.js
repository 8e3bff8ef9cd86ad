// The annotator's name: asked once, shown in the head of the page, changed there.

import { setText } from "../common/dom.js";
import { annotator, asName, setAnnotator, whenRenamedElsewhere } from "../common/session.js";

const dialog = document.getElementById("name-dialog");
const field = document.getElementById("name-field");
const mistake = document.getElementById("name-mistake");
const shown = document.getElementById("name-shown");
const button = document.getElementById("name-button");

let answered = [];

/** Asks for a name; resolves when there is one. */
export function askName() {
  return new Promise((resolve) => {
    answered.push(resolve);
    open();
  });
}

function open() {
  if (dialog.open) return;
  field.value = annotator();
  mistake.textContent = "";
  document.getElementById("name-cancel").hidden = !annotator() && answered.length > 0;
  document.getElementById("name-data").hidden = !annotator();
  dialog.showModal();
  field.select();
}

function show() {
  setText(shown, annotator() || "No name");
  button.setAttribute("aria-label", annotator() ? `Labelling as ${annotator()}; change` : "Say who is labelling");
}

/** Shows the name; `changed` is called when it is another, here or in another tab. */
export function startName(changed) {
  show();
  const take = (isOther) => {
    show();
    dialog.close();
    const waiting = answered;
    answered = [];
    for (const resolve of waiting) resolve();
    if (isOther && !waiting.length) changed();
  };
  whenRenamedElsewhere(() => annotator() && take(true));
  button.addEventListener("click", open);
  for (const id of ["name-cancel", "name-data"]) document.getElementById(id).addEventListener("click", () => dialog.close());
  document.getElementById("name-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = asName(field.value);
    if (!name) {
      mistake.textContent = "A name has at least one letter.";
      field.focus();
      return;
    }
    const before = annotator();
    setAnnotator(name);
    take(before !== name);
  });
  // without a name nothing can be labelled: Escape leads back to the runs
  dialog.addEventListener("close", () => {
    if (!annotator() && answered.length) {
      answered = [];
      window.location.hash = "#/";
    }
  });
}
