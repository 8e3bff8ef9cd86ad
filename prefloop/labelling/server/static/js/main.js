// The page's beginning: what stands on every page, and which page an address means.

import { attempt, connection, health, persist, Refused } from "./common/api.js";
import { make } from "./common/dom.js";
import { startHelp } from "./common/keys.js";
import { showComparisons } from "./comparisons/list.js";
import { showLabel } from "./label/label.js";
import { startName } from "./label/name.js";
import { startNotices } from "./label/notices.js";
import { outbox } from "./label/outbox.js";
import { showResults } from "./results/results.js";
import { showRuns } from "./runs/runs.js";
import { decoded, isLink, setToken, takeToken, token } from "./common/session.js";
import { browser } from "./common/storage.js";
import { showSettings } from "./settings/settings.js";
import { showStudies } from "./studies/studies.js";
import { showData } from "./study/data.js";
import { showStudy } from "./study/study.js";
import { startTheme } from "./common/theme.js";
import { inWords, preferred, speak, word } from "./common/words.js";

const view = document.getElementById("view");
const PAGES = { "": ["runs", showRuns], label: ["label", showLabel], results: ["results", showResults], comparisons: ["comparisons", showComparisons], settings: ["settings", showSettings], studies: ["studies", showStudies], data: ["data", showData] };
const OWN_STUDY = ["study", showStudy]; // all that there is for whoever came by a link

let leave = new AbortController();

/** Leaves the page that is shown, for another of the address's. */
async function route() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const [kind, ...rest] = window.location.hash.replace(/^#\/?/, "").split("/");
  const name = decoded(rest.join("/"));
  const [page, show] = isLink() ? OWN_STUDY : (PAGES[kind] ?? PAGES[""]);
  document.title = name ? `${name} · prefloop` : "prefloop";
  view.dataset.page = page;
  delete view.dataset.state;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.page === page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  view.replaceChildren(make("p", { class: "empty" }, isLink() ? "…" : "Loading …"));
  try {
    await show(view, signal, name);
  } catch (error) {
    if (signal.aborted || error.status === 401) return;
    if (!(error instanceof Refused)) throw error;
    view.replaceChildren(make("p", { class: "empty" }, error.message));
  }
  if (!signal.aborted && !isLink() && isFirst === false) view.querySelector("h1")?.focus();
  isFirst = false;
}

let isFirst = true;

/** Shows what the token allows, or asks for one. */
async function begin() {
  try {
    const { role } = isLink() ? {} : await persist(health);
    document.getElementById("studies-link").hidden = role !== "trainer";
    if (role === null) {
      askToken();
    } else if (isLink()) {
      await greet();
      await route();
    } else {
      outbox.send(); // what was left over when the page was closed
      await route();
    }
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    view.replaceChildren(make("p", { class: "empty" }, error.message));
  }
}

/** Speaks, as far as nobody knows of which study somebody comes, what they spoke here before or like best. */
async function greet() {
  const before = browser.read("language");
  if (before) await speak(before);
  else await attempt(async () => speak(preferred((await health()).languages)));
}

/** Asks for a token in place of the page. */
function askToken() {
  if (view.dataset.page === "token") return;
  leave.abort();
  view.dataset.page = "token";
  const field = make("input", { id: "token-field", type: "password", autocomplete: "off", required: true });
  const enter = (event) => {
    event.preventDefault();
    setToken(field.value.trim());
    delete view.dataset.page;
    begin();
  };
  view.replaceChildren(
    make(
      "form",
      { class: "card token-form", onsubmit: enter },
      make("h1", {}, "A token is needed"),
      make("p", {}, token()
        ? "The token that was given does not hold here. Whoever started the server has the right one."
        : "Open the address that whoever started the server gave you, or enter its token here."),
      make("label", { for: "token-field" }, "Token"),
      field,
      make("div", { class: "buttons" }, make("button", { class: "primary", type: "submit" }, "Go on")),
    ),
  );
  field.focus();
}

/** Writes the words of what stands on every page. */
function writeWords() {
  for (const node of document.querySelectorAll("[data-word]")) node.textContent = word(node.dataset.word);
  for (const node of document.querySelectorAll("[data-word-label]")) node.setAttribute("aria-label", word(node.dataset.wordLabel));
}

takeToken();
inWords(writeWords);
startTheme();
startHelp();
startNotices();
startName(() => ["label", "data"].includes(view.dataset.page) && route()); // no other page is anybody's own
connection.addEventListener("token", askToken);
window.addEventListener("hashchange", () => {
  const [before, wasLink] = [token(), isLink()];
  takeToken();
  const isAnother = token() !== before;
  // as somebody else, with nothing left of the one before
  if (isAnother && (wasLink || isLink())) window.location.reload();
  else if (isAnother) begin();
  else if (window.location.hash !== "#view") route();
});
begin();
