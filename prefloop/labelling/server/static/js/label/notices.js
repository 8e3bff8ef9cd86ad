// What the page tells, whatever else it shows: that the server is away, and what was not stored.

import { connection } from "../common/api.js";
import { inWords } from "./choices.js";
import { count, make, setText } from "../common/dom.js";
import { outbox } from "./outbox.js";
import { say } from "../common/say.js";

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
    make("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => close(notice) }, "✕"),
  );
  notices.append(notice);
}

function showConnection() {
  const waiting = outbox.waiting().filter(({ kind }) => kind === "answer").length;
  banner.hidden = connection.reachable;
  if (connection.reachable) return;
  const kept = waiting
    ? ` ${count(waiting, "answer is", "answers are")} kept in this browser and will be sent.`
    : " Nothing is lost; your answers will be kept in this browser.";
  setText(banner, `Offline: the server can't be reached.${kept}`);
}

/** All answers that were refused, each with its run, its time and why. */
class RefusedAnswers {
  #title = make("p", { role: "alert" });
  #list = make("ul");
  #details = make("details", {}, make("summary", {}, "Which, and why"), this.#list);
  #all = make("button", { type: "button", onclick: () => this.#discardAll() }, "Discard all");
  #node = make(
    "section",
    { class: "notice refused", "aria-label": "Answers that were not stored" },
    make("div", {}, this.#title, this.#all),
    this.#details,
  );
  #items = new Map();

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
    setText(this.#title, `${count(refused.length, "answer was", "answers were")} not stored.`);
    this.#all.hidden = refused.length === 1;
    if (!this.#node.isConnected) notices.append(this.#node);
  }

  #item({ said, run, at, reason, again }) {
    const time = new Date(at).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
    const choice = inWords(said.choice).toLowerCase();
    const what = `${run}, ${time}, ${choice}`;
    const button = (text, act) =>
      make("button", { type: "button", "aria-label": `${text}: ${what}`, onclick: () => { this.#leave(said.id); act(); } }, text);
    return make(
      "li",
      {},
      make("p", {}, make("b", {}, run), `, ${time}, ${choice}: `, reason),
      again ? button("Send again", () => outbox.retry(said.id)) : null,
      button("Discard", () => outbox.discard(said.id)),
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
  const refused = new RefusedAnswers();
  let wasReachable = true;
  connection.addEventListener("change", () => {
    showConnection();
    if (connection.reachable && !wasReachable) say("The server is back.");
    wasReachable = connection.reachable;
  });
  outbox.addEventListener("change", () => {
    showConnection();
    refused.show();
  });
  refused.show();
}
