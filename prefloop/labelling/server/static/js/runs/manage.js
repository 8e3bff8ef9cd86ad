// What a trainer may do with a run: another name, the archive, and the end of it.

import { archiveRun, attempt, bringRunBack, deleteRun, exportRun, getTraining, renameRun } from "../common/api.js";
import { askToDelete } from "../common/confirm.js";
import { count, make, setText } from "../common/dom.js";
import { mistakeLine, orSay } from "../common/mistake.js";
import { say } from "../common/say.js";
import { inBrief } from "../common/phase.js";

export class Manage {
  #dialog = make("dialog", { id: "manage-dialog", "aria-labelledby": "manage-title" });
  #mistake = mistakeLine();
  #changed;

  /** `changed(name)` is called when a run was changed, with the name that it has now. */
  constructor(changed, signal) {
    this.#changed = changed;
    document.body.append(this.#dialog);
    signal.addEventListener("abort", () => this.#dialog.remove());
  }

  open(run) {
    setText(this.#mistake, "");
    this.#dialog.replaceChildren(
      make("h2", { id: "manage-title" }, run.name),
      this.#renaming(run),
      this.#exporting(run),
      this.#archiving(run),
      this.#deleting(run),
      this.#mistake,
      make(
        "div",
        { class: "buttons" },
        make("a", { class: "button", href: `#/settings/${encodeURIComponent(run.name)}` }, "Settings of this run"),
        make("button", { type: "button", class: "primary", onclick: () => this.#dialog.close() }, "Close"),
      ),
    );
    this.#dialog.showModal();
  }

  #renaming({ name, training }) {
    const field = make("input", { id: "manage-name", value: name, maxlength: "64", autocomplete: "off", spellcheck: "false" });
    const rename = (event) => {
      event.preventDefault();
      const wanted = field.value.trim();
      if (wanted === name) return;
      this.#do(() => renameRun(name, wanted), wanted, `${name} is now ${wanted}.`);
    };
    const goesOn = make("p", { class: "faint", hidden: training === null });
    const trains = training === null ? "A program trained on it under this name" : `A program trains on it under this name (${inBrief(training)})`;
    // without --out it would begin from nothing, in a folder of the new name
    setText(goesOn, `${trains}: renamed, it goes on when it is started again with --run NEW-NAME --out ${name} (its folder, where no other was given).`);
    if (training === null) attempt(async () => (goesOn.hidden = (await getTraining(name)) === null)); // it may be stopped for now
    return make(
      "form",
      { class: "manage-part", onsubmit: rename },
      make("label", { for: "manage-name" }, "Name"),
      make("div", { class: "manage-row" }, field, make("button", { type: "submit" }, "Rename")),
      goesOn,
    );
  }

  #exporting({ name, counts }) {
    const save = (pseudonyms) => () => orSay(this.#mistake, async () => {
      download(await exportRun(name, pseudonyms), `${name}.zip`);
      say(`${name} is exported.`);
    });
    const button = (text, pseudonyms) => make("button", { type: "button", disabled: !counts.labels, onclick: save(pseudonyms) }, text);
    const buttons = make("span", { class: "manage-row" }, button("Export", false), button("Export without names", true));
    return part("The labels as a preference dataset, in a zip; without names, each annotator has a pseudonym, always the same.", buttons);
  }

  #archiving({ name, archived, training }) {
    if (archived) {
      const back = () => this.#do(() => bringRunBack(name), name, `${name} is offered to annotators again.`);
      return part("It is archived: nobody is asked about it.", make("button", { type: "button", onclick: back }, "Bring back"));
    }
    const why = training === null
      ? "In the archive it keeps all its labels, and nobody is asked about it until it is brought back."
      : `A program trains on it now (${inBrief(training)}); stop it before you archive the run.`;
    const away = () => this.#do(() => archiveRun(name), name, `${name} is archived.`);
    return part(why, make("button", { type: "button", disabled: training !== null, onclick: away }, "Archive"));
  }

  #deleting(run) {
    const { name, counts, training } = run;
    const ask = () => {
      this.#dialog.close();
      askToDelete({
        title: `Delete the run ${name}?`,
        text: lost(run),
        name,
        button: "Delete for good",
        typed: counts.labels > 0,
        act: async () => {
          await deleteRun(name, training !== null);
          await this.#end(null, `${name} is deleted.`);
        },
      });
    };
    return part("Deleted, it is gone for good.", make("button", { type: "button", onclick: ask }, "Delete …"));
  }

  async #do(job, name, done) {
    if (!(await orSay(this.#mistake, job))) return;
    this.#dialog.close();
    await this.#end(name, done);
  }

  async #end(name, done) {
    say(done);
    await attempt(() => this.#changed(name)); // else the next look shows it
  }
}

/** Saves a file that was fetched: a link to it would carry no token. */
function download(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function part(text, button) {
  return make("div", { class: "manage-part manage-row" }, make("p", {}, text), button);
}

/** What a deletion takes with it. */
function lost({ counts, round, training }) {
  const labels = counts.labels
    ? `${count(counts.labels, "label")} by ${count(counts.annotators, "annotator")} would be lost, and ${count(counts.queries, "pair")} with their clips.`
    : `There are no labels to lose; ${count(counts.queries, "pair")} would go.`;
  const earlier = round > 1 ? " The labels of earlier rounds would be lost, too." : "";
  const trains = training === null ? "" : ` A program trains on it now (${inBrief(training)}), and would end with an error.`;
  return `${labels}${earlier}${trains}`;
}
