// What the page tells: to the eye, to a screen reader, or to both.

import { connection } from "./api.js";
import { count, make, setText } from "./dom.js";
import { outbox } from "./outbox.js";

const polite = document.getElementById("polite");
const notices = document.getElementById("notices");
const banner = document.getElementById("offline");

/** Tells a screen reader, when it is done with what it reads. */
export function say(text) {
  // the same text twice is no change, which no screen reader would tell
  polite.textContent = polite.textContent === text ? `${text}\u00a0` : text;
}

/** Shows a sentence until it is closed; `actions` are [label, function] of further buttons. */
export function notify(text, { key = text, actions = [] } = {}) {
  for (const old of notices.children) if (old.dataset.key === key) old.remove();
  const close = () => notice.remove();
  const notice = make(
    "div",
    { class: "notice", role: "alert", "data-key": key },
    make("p", {}, text),
    ...actions.map(([label, act]) =>
      make("button", { type: "button", onclick: () => { close(); act(); } }, label),
    ),
    make("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: close }, "✕"),
  );
  notices.append(notice);
}

function showConnection() {
  const waiting = outbox.waiting().length;
  banner.hidden = connection.reachable;
  if (connection.reachable) return;
  const kept = waiting
    ? ` ${count(waiting, "answer is", "answers are")} kept in this browser and will be sent.`
    : " Nothing is lost; your answers will be kept in this browser.";
  setText(banner, `Offline: the server can't be reached.${kept}`);
}

function showAside() {
  const aside = outbox.aside();
  if (!aside.length) return;
  notify(
    `${count(aside.length, "answer was", "answers were")} not taken: ${aside[0].aside}`,
    {
      key: "aside",
      actions: [
        ["Send again", () => outbox.retryAside()],
        ["Discard", () => outbox.discardAside()],
      ],
    },
  );
}

/** Keeps the banner and the notices up to date. */
export function startNotices() {
  let wasReachable = true;
  connection.addEventListener("change", () => {
    showConnection();
    if (connection.reachable && !wasReachable) say("The server is back.");
    wasReachable = connection.reachable;
  });
  outbox.addEventListener("change", showConnection);
  outbox.addEventListener("refused", ({ detail: { error } }) => {
    if (outbox.aside().length) showAside();
    else notify(`An answer was not stored: ${error.message}`, { key: "refused" });
  });
  showAside();
}
