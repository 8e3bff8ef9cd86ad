// Policies side by side: the list of what was sent by `prefloop show`, and each of them.

import { attempt, health, listComparisons, persist, Refused, removeComparison, repeat, Unreachable } from "../common/api.js";
import { count, make, setText } from "../common/dom.js";
import { mistakeLine } from "../common/mistake.js";
import { say } from "../common/say.js";
import { showOne } from "./one.js";

const REFRESH = 5000;

/** All comparisons, or the one whose id is given. */
export async function showComparisons(view, signal, id) {
  if (id) {
    await showOne(view, signal, id);
    return;
  }
  const [found, { role }] = await persist(() => Promise.all([listComparisons(), health()]), signal);
  if (!signal.aborted) new List(view, found, role === "trainer", signal);
}

/** "pebble, sac". */
const namesOf = ({ runs }) => runs.join(", ");

class List {
  #signal;
  #removal; // null where it is not theirs to remove
  #shown = ""; // what stands there
  #title = make("h1", { tabindex: "-1" }, "Comparisons");
  #list = make("ul", { class: "run-list" });
  #empty = make(
    "div",
    { class: "empty", hidden: true },
    make("h2", {}, "There is nothing to compare yet"),
    make("p", {}, "Policies of up to six runs, side by side and in step; this page shows them by itself:"),
    make("pre", {}, make("code", {}, `prefloop show RUN RUN --server ${new URL(".", document.baseURI).href.replace(/\/$/, "")}`)),
  );

  constructor(view, found, isTrainer, signal) {
    this.#signal = signal;
    this.#removal = isTrainer ? new Removal(() => this.#removed(), signal) : null;
    this.#update(found);
    view.replaceChildren(make("div", { class: "page-head" }, this.#title), this.#list, this.#empty);
    repeat(() => this.#refresh(), REFRESH, signal);
  }

  async #refresh() {
    const found = await listComparisons();
    if (!this.#signal.aborted) this.#update(found);
  }

  async #removed() {
    await attempt(() => this.#refresh());
    this.#title.focus();
  }

  #update(found) {
    const now = JSON.stringify(found);
    if (now === this.#shown) return; // what has not changed stays, with the focus in it
    this.#shown = now;
    this.#list.replaceChildren(...found.map((comparison) => card(comparison, this.#removal)));
    this.#empty.hidden = found.length > 0;
  }
}

function card(comparison, removal) {
  const names = namesOf(comparison);
  const { id, env, by, clips, runs, created_at: time } = comparison;
  const address = `#/comparisons/${id}`;
  const remove = () => removal.open(comparison);
  return make(
    "li",
    { class: "card run" },
    make(
      "div",
      { class: "run-head" },
      make("h2", {}, make("a", { href: address }, names)),
      make("span", { class: "tag" }, env),
      make("time", { class: "faint", datetime: time }, new Date(time).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" })),
    ),
    make("p", { class: "run-counts" }, `${count(runs.length, "run")}, ${count(clips, "clip")}${by === null ? "" : `, by ${by}`}`),
    make(
      "div",
      { class: "run-buttons" },
      make("a", { class: "button primary", href: address, "aria-label": `Watch ${names}` }, "Watch"),
      removal && make("button", { type: "button", "aria-label": `Remove ${names} …`, onclick: remove }, "Remove …"),
    ),
  );
}

/** Asks before a comparison goes. */
class Removal {
  #dialog = make("dialog", { id: "remove-dialog", "aria-labelledby": "remove-title" });
  #removed;

  /** `removed()` is called when one was removed. */
  constructor(removed, signal) {
    this.#removed = removed;
    document.body.append(this.#dialog);
    signal.addEventListener("abort", () => this.#dialog.remove());
  }

  open(comparison) {
    const mistake = mistakeLine();
    const remove = async () => {
      setText(mistake, "");
      try {
        await removeComparison(comparison.id);
      } catch (error) {
        if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
        setText(mistake, error.message);
        if (error.status !== 404) return; // somebody else was quicker: the list shows it
      }
      this.#dialog.close();
      say(`The comparison of ${namesOf(comparison)} is removed.`);
      await this.#removed();
    };
    this.#dialog.replaceChildren(
      make("h2", { id: "remove-title" }, `Remove the comparison of ${namesOf(comparison)}?`),
      make("p", {}, `It goes from this server for good, with its ${count(comparison.clips, "clip")}. The runs, their labels and their folders stay.`),
      mistake,
      make(
        "div",
        { class: "buttons" },
        make("button", { type: "button", onclick: () => this.#dialog.close() }, "Cancel"),
        make("button", { type: "button", class: "danger", onclick: remove }, "Remove for good"),
      ),
    );
    this.#dialog.showModal();
  }
}
