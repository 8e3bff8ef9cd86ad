// A form of settings: rows in groups, and a button that saves what was changed.

import { Refused, Unreachable } from "../common/api.js";
import { make, setText } from "../common/dom.js";
import { say } from "../common/say.js";
import { words } from "./words.js";

const brief = (number) => number.toLocaleString("en");

/**
 * The form.
 *
 * groups: [title, keys as the server describes them] each.
 * stored: values by key.
 * mayChange: whether anything can be typed.
 * save: sends what was changed, and returns the values by key that are stored now.
 * otherwise: what holds where a field is empty, by key: {brief, full}; left out where empty means nothing.
 */
export function settingsForm({ groups, stored, mayChange, save, otherwise = {} }) {
  let values = stored;
  const fields = new Map();
  const status = make("p", { class: "save-status", role: "status" });
  const button = make("button", { type: "submit", class: "primary" }, "Save");
  const form = make("form", { class: "settings", novalidate: true });

  const changes = () => {
    const changed = {};
    for (const [key, field] of fields) {
      const value = field.value();
      if (value !== (values[key] ?? null)) changed[key] = value;
    }
    return changed;
  };
  const showChanges = () => {
    button.disabled = Object.keys(changes()).length === 0;
    for (const field of fields.values()) field.showMistake("");
    setText(status, button.disabled ? "" : "Not saved yet");
    status.classList.remove("mistake");
  };
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    setText(status, "Saving …");
    try {
      values = await save(changes());
      for (const [key, field] of fields) field.show(values[key] ?? null);
      showChanges();
      setText(status, "Saved");
    } catch (error) {
      if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
      button.disabled = false;
      setText(status, error.message);
      status.classList.add("mistake");
      // the server's sentence begins with the key
      const [key] = /^\w+/.exec(error.message) ?? [];
      const wrong = fields.get(key);
      wrong?.showMistake(error.message);
      wrong?.input.focus();
      if (!wrong) say(error.message);
    }
  };

  for (const [title, keys] of groups) {
    if (!keys.length) continue;
    const group = make("fieldset", { class: "card", disabled: !mayChange }, make("legend", {}, title));
    for (const key of keys) {
      const field = makeField(key, otherwise[key.key] ?? null);
      field.show(values[key.key] ?? null);
      fields.set(key.key, field);
      group.append(field.node);
    }
    form.append(group);
  }
  form.append(make("div", { class: "save-bar", hidden: !mayChange }, status, button));
  form.addEventListener("input", showChanges);
  form.addEventListener("submit", submit);
  showChanges();
  return form;
}

/** A row of the form: {node, input, value(), show(value), showMistake(sentence)}. */
function makeField(key, otherwise) {
  const id = `setting-${key.key}`;
  const isSwitch = typeof key.default === "boolean";
  const { title, unit, about, example, everywhere, ofRun } = words(key);
  const here = otherwise === null ? everywhere : ofRun;
  const input = make("input", {
    id,
    name: key.key,
    type: isSwitch ? "checkbox" : "text",
    inputmode: isSwitch ? null : "decimal",
    role: isSwitch ? "switch" : null,
    autocomplete: "off",
    placeholder: otherwise?.brief ?? (key.default === null ? "not set" : null),
    "aria-describedby": `${id}-help ${id}-mistake`,
  });
  const mistake = make("p", { class: "mistake", id: `${id}-mistake`, role: "alert" });
  const limits = key.low === null ? "" : ` From ${brief(key.low)} to ${brief(key.high)}.`;
  const node = make(
    "div",
    { class: `setting${isSwitch ? " switch" : ""}`, "data-key": key.key },
    make("label", { for: id }, title),
    make("div", { class: "setting-value" }, input, unit ? make("span", { class: "unit" }, unit) : null),
    make(
      "p",
      { class: "faint", id: `${id}-help` },
      about,
      here ? ` ${here}` : "",
      example ? ` For example: ${example}` : "",
      limits,
      otherwise === null ? "" : make("b", { class: "everywhere" }, ` For every other run: ${otherwise.full}.`),
      " ",
      make("code", { class: "key", title: "Its name in labelling.yaml" }, key.key),
    ),
    mistake,
  );
  return {
    node,
    input,
    value() {
      if (isSwitch) return input.checked;
      const text = input.value.trim();
      if (!text) return null;
      // thousands as this page writes them; any other comma stands before a fraction
      const isGrouped = /^[1-9]\d{0,2}(,\d{3})+$/.test(text);
      const number = Number(isGrouped ? text.replaceAll(",", "") : text.replace(",", "."));
      return Number.isFinite(number) ? number : text; // what it is not, the server says
    },
    show(value) {
      if (isSwitch) input.checked = value;
      else input.value = value ?? "";
    },
    showMistake(sentence) {
      setText(mistake, sentence);
      input.setAttribute("aria-invalid", String(sentence !== ""));
    },
  };
}
