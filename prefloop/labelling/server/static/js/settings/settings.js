// The settings: labelling.yaml as a form, and what of it is other for one run. What a key may be, the server says.

import { getRunSettings, getSettings, persist, putRunSettings, putSettings } from "../common/api.js";
import { make } from "../common/dom.js";
import { foundOrShown } from "../common/refusal.js";
import { settingsForm } from "./form.js";

const GROUPS = {
  "What annotators may do": ["allow_ties", "allow_skip", "allow_trim", "max_queries_per_annotator"],
  "How clips play": ["frames_per_second", "playback_speed"],
  "Who gets which pair": ["annotators_per_query", "repeats", "pairs_ahead", "lease_seconds"],
  "What the server keeps ready": ["rendered_queue_size", "cache_size_mb", "sent_clips_mb"],
};
const OWN = { brief: "its own", full: "the environment's own" }; // where labelling.yaml says nothing
const ELSEWHERE = "settings_locked"; // can only be changed in the file

/** Shows the settings of a run, or, without a name, those of every run. */
export async function showSettings(view, signal, name) {
  await (name ? showRunSettings(view, signal, name) : showAllSettings(view, signal));
}

async function showAllSettings(view, signal) {
  const settings = await persist(getSettings, signal);
  if (signal.aborted) return;
  const save = async (changes) => (await putSettings(changes)).values;
  const { values, may_change: mayChange } = settings;
  view.replaceChildren(
    make("h1", { tabindex: "-1" }, "Settings"),
    make(
      "p",
      { class: "faint" },
      "They hold for every annotator and every run; of a run you can set some of your own, under ",
      make("a", { href: "#/" }, "Manage"),
      ". They stand in ",
      make("code", {}, "labelling.yaml"),
      " under the names in small letters.",
    ),
    ...locked(mayChange, values[ELSEWHERE]),
    settingsForm({ groups: grouped(settings.keys), stored: values, mayChange, save }),
  );
}

async function showRunSettings(view, signal, name) {
  const settings = await foundOrShown(view, name, () => getRunSettings(name), signal);
  if (!settings) return;
  const { keys, own, everywhere, may_change: mayChange } = settings;
  const otherwise = Object.fromEntries(
    Object.entries(everywhere).map(([key, value]) => [key, value === null ? OWN : { brief: String(value), full: String(value) }]),
  );
  const save = async (changes) => (await putRunSettings(name, changes)).own;
  const path = encodeURIComponent(name);
  view.replaceChildren(
    make(
      "div",
      { class: "page-head" },
      make("h1", { tabindex: "-1" }, "Settings of ", name),
      make("a", { class: "button", href: `#/results/${path}` }, "Results"),
    ),
    make(
      "p",
      { class: "faint" },
      "They hold for this run alone. Where a field is empty, what holds for every run does: ",
      make("a", { href: "#/settings" }, "all settings"),
      ".",
    ),
    ...locked(mayChange, settings.locked),
    settingsForm({ groups: grouped(keys), stored: own, mayChange, save, otherwise }),
  );
}

/** The keys in their groups; those that are in none stand last. */
function grouped(keys) {
  const named = new Set(Object.values(GROUPS).flat());
  const others = keys.map(({ key }) => key).filter((key) => !named.has(key) && key !== ELSEWHERE);
  return Object.entries({ ...GROUPS, Other: others }).map(([title, names]) => [
    title,
    names.map((name) => keys.find(({ key }) => key === name)).filter(Boolean),
  ]);
}

/** Why nothing can be changed; nothing where it can. */
function locked(mayChange, isLocked) {
  if (mayChange) return [];
  const why = isLocked
    ? "The settings are locked. Whoever runs the server can change them in labelling.yaml."
    : "Only trainers may change the settings: this page was opened with the annotators' token.";
  return [make("p", { class: "locked", role: "note" }, make("span", { "aria-hidden": "true" }, "🔒 "), why)];
}
