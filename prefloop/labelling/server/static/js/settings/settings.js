// The settings: labelling.yaml as a form. What a key means and may be, the server says.

import { getSettings, persist, putSettings, Refused, Unreachable } from "../common/api.js";
import { make, setText } from "../common/dom.js";
import { say } from "../common/say.js";

const GROUPS = {
  "What annotators may do": ["allow_ties", "allow_skip", "allow_trim", "max_queries_per_annotator"],
  Clips: ["frames_per_second", "playback_speed", "rendered_queue_size", "cache_size_mb", "sent_clips_mb"],
  Queue: ["annotators_per_query", "repeats", "lease_seconds"],
};
const ELSEWHERE = "settings_locked"; // can only be changed in the file

export async function showSettings(view, signal) {
  let settings = await persist(getSettings, signal);
  if (signal.aborted) return;
  const fields = new Map();
  const status = make("p", { class: "save-status", role: "status" });
  const save = make("button", { type: "submit", class: "primary" }, "Save");
  const form = make("form", { class: "settings", novalidate: true });

  const changes = () => {
    const changed = {};
    for (const [key, field] of fields) {
      const value = field.value();
      if (value !== settings.values[key]) changed[key] = value;
    }
    return changed;
  };
  const showChanges = () => {
    save.disabled = Object.keys(changes()).length === 0;
    for (const field of fields.values()) field.showMistake("");
    setText(status, save.disabled ? "" : "Not saved yet");
    status.classList.remove("mistake");
  };
  const submit = async (event) => {
    event.preventDefault();
    save.disabled = true;
    setText(status, "Saving …");
    try {
      settings = await putSettings(changes());
      for (const [key, field] of fields) field.show(settings.values[key]);
      showChanges();
      setText(status, "Saved");
    } catch (error) {
      if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
      save.disabled = false;
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

  const named = new Set(Object.values(GROUPS).flat());
  const others = settings.keys.map((key) => key.key).filter((key) => !named.has(key) && key !== ELSEWHERE);
  for (const [title, keys] of Object.entries({ ...GROUPS, Other: others })) {
    const known = keys.map((key) => settings.keys.find((one) => one.key === key)).filter(Boolean);
    if (!known.length) continue;
    const group = make("fieldset", { class: "card", disabled: !settings.may_change }, make("legend", {}, title));
    for (const key of known) {
      const field = makeField(key);
      field.show(settings.values[key.key]);
      fields.set(key.key, field);
      group.append(field.node);
    }
    form.append(group);
  }
  form.append(make("div", { class: "save-bar", hidden: !settings.may_change }, status, save));
  form.addEventListener("input", showChanges);
  form.addEventListener("submit", submit);
  showChanges();
  const why = settings.values[ELSEWHERE]
    ? "The settings are locked. Whoever runs the server can change them in labelling.yaml."
    : "Only trainers may change the settings: this page was opened with the annotators' token.";
  view.replaceChildren(
    make("h1", { tabindex: "-1" }, "Settings"),
    make("p", { class: "faint" }, "They hold for every run and every annotator, and stand in labelling.yaml."),
    ...(settings.may_change ? [] : [make("p", { class: "locked", role: "note" }, make("span", { "aria-hidden": "true" }, "🔒 "), why)]),
    form,
  );
}

/** A row of the form: {node, input, value(), show(value), showMistake(sentence)}. */
function makeField(key) {
  const id = `setting-${key.key}`;
  const isSwitch = typeof key.default === "boolean";
  const input = make("input", {
    id,
    name: key.key,
    type: isSwitch ? "checkbox" : "text",
    inputmode: isSwitch ? null : "decimal",
    role: isSwitch ? "switch" : null,
    autocomplete: "off",
    placeholder: key.default === null ? "not set" : null,
    "aria-describedby": `${id}-help ${id}-mistake`,
  });
  const mistake = make("p", { class: "mistake", id: `${id}-mistake`, role: "alert" });
  const title = key.key.replaceAll("_", " ").replace(/ mb$/, " (MB)");
  const limits = key.low === null ? "" : ` From ${brief(key.low)} to ${brief(key.high)}.`;
  const help = key.help.replace(/\bnull\b/, "empty"); // as it is typed here
  const node = make(
    "div",
    { class: `setting${isSwitch ? " switch" : ""}`, "data-key": key.key },
    make("label", { for: id }, title[0].toUpperCase() + title.slice(1)),
    input,
    make("p", { class: "faint", id: `${id}-help` }, `${help[0].toUpperCase()}${help.slice(1)}.${limits}`),
    mistake,
  );
  return {
    node,
    input,
    value() {
      if (isSwitch) return input.checked;
      const text = input.value.trim();
      if (!text) return null;
      const number = Number(text.replace(",", "."));
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

const brief = (number) => number.toLocaleString("en");
