// What the page tells, whatever else it shows: that the server is away, and what was not stored.

import { connection } from "../common/api.js";
import { saidText } from "./choices.js";
import { make, setText } from "../common/dom.js";
import { outbox } from "./outbox.js";
import { say } from "../common/say.js";
import { inWords, timeText, word } from "../common/words.js";

const notices = document.getElementById("notices");
const banner = document.getElementById("offline");

/** Takes a node away; a focus within it goes on to the page. */
function close(node) {
  const hadFocus = node.contains(document.activeElement);
  node.remove();
  if (hadFocus) document.getElementById("view").focus();
}

/** Shows a sentence until it is closed. */
export function notify(text) {
  if ([...notices.children].some((old) => old.dataset.text === text)) return;
  const notice = make(
    "div",
    { class: "notice", "data-text": text },
    make("p", { role: "alert" }, text),
    make("button", { type: "button", class: "quiet", "aria-label": word("close"), onclick: () => close(notice) }, "✕"),
  );
  notices.append(notice);
}

function showConnection() {
  const waiting = outbox.waiting().filter(({ kind }) => kind === "answer").length;
  banner.hidden = connection.reachable;
  if (connection.reachable) return;
  const kept = waiting ? word("offlineKept", { n: waiting }) : word("offlineNothing");
  setText(banner, `${word("offline")} ${kept}`);
}

/** All answers that were refused, each with its run, its time and why. */
class RefusedAnswers {
  #title = make("p", { role: "alert" });
  #list = make("ul");
  #details = make("details", {}, make("summary", {}, word("notStoredWhy")), this.#list);
  #all = make("button", { type: "button", onclick: () => this.#discardAll() }, word("discardAll"));
  #node = make(
    "section",
    { class: "notice refused", "aria-label": word("notStoredList") },
    make("div", {}, this.#title, this.#all),
    this.#details,
  );
  #items = new Map();

  /** Takes it off the page. */
  end() {
    this.#node.remove();
  }

  show() {
    const refused = outbox.refused();
    if (!refused.length && this.#node.isConnected) close(this.#node);
    const ids = new Set(refused.map(({ said }) => said.id));
    for (const [id, item] of this.#items) {
      if (ids.has(id)) continue;
      item.remove();
      this.#items.delete(id);
    }
    // several would take the room of the clips
    if (refused.length > this.#items.size && !this.#node.contains(document.activeElement)) {
      this.#details.open = refused.length === 1;
    }
    for (const entry of refused) {
      if (this.#items.has(entry.said.id)) continue;
      const item = this.#item(entry);
      this.#items.set(entry.said.id, item);
      this.#list.append(item);
    }
    if (!refused.length) return;
    setText(this.#title, word("notStored", { n: refused.length }));
    this.#all.hidden = refused.length === 1;
    if (!this.#node.isConnected) notices.append(this.#node);
  }

  #item({ said, run, at, reason, again }) {
    // a participant's pairs are of no run that has a name
    const rest = [timeText(at), saidText(said.choice)].join(", ");
    const what = run ? `${run}, ${rest}` : rest;
    const button = (text, act) =>
      make("button", { type: "button", "aria-label": `${text}: ${what}`, onclick: () => { this.#leave(said.id); act(); } }, text);
    return make(
      "li",
      {},
      make("p", {}, ...(run ? [make("b", {}, run), ", "] : []), `${rest}: `, reason),
      again ? button(word("sendAgain"), () => outbox.retry(said.id)) : null,
      button(word("discard"), () => outbox.discard(said.id)),
    );
  }

  /** The focus goes to the next that is left. */
  #leave(id) {
    const item = this.#items.get(id);
    (item.nextElementSibling ?? item.previousElementSibling)?.querySelector("button").focus();
  }

  #discardAll() {
    for (const { said } of outbox.refused()) outbox.discard(said.id);
  }
}

/** Keeps the banner and the notices up to date. */
export function startNotices() {
  let refused = null;
  let wasReachable = true;
  connection.addEventListener("change", () => {
    showConnection();
    if (connection.reachable && !wasReachable) say(word("serverBack"));
    wasReachable = connection.reachable;
  });
  outbox.addEventListener("change", () => {
    showConnection();
    refused.show();
  });
  inWords(() => {
    refused?.end();
    refused = new RefusedAnswers();
    showConnection();
    refused.show();
  });
}
