// Studies, for those who run them: a list, and the table of who has come how far.

import {
  deleteStudy, forget, getDataOf, getStudy, getStudyDoubts, listStudies, persist, repeat, revokeLink,
} from "../common/api.js";
import { askToDelete, askToForget } from "../common/confirm.js";
import { count, make, setText } from "../common/dom.js";
import { mistakeLine, orSay } from "../common/mistake.js";
import { foundOrShown } from "../common/refusal.js";
import { say } from "../common/say.js";
import { doubtList, marks } from "../results/doubts.js";

const REFRESH = 4000;
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const COLUMNS = ["Participant", "State", "Started", "Consent", "Finished", "Pairs", "Checks passed", "Code", "To look at", ""];
const STATES = { new: "not yet here", started: "under way", finished: "finished", left: "left", failed: "turned away", revoked: "link ended" };

/** Shows one study, or, without a name, all. */
export async function showStudies(view, signal, name) {
  if (name) {
    await showTable(view, signal, name);
    return;
  }
  const studies = await persist(listStudies, signal);
  if (signal.aborted) return;
  view.replaceChildren(
    make("div", { class: "page-head" }, make("h1", { tabindex: "-1" }, "Studies")),
    studies.length
      ? make("ul", { class: "study-list" }, studies.map(card))
      : make("div", { class: "empty" }, make("h2", {}, "There is no study yet"), make("p", {}, "A study gives each participant a link of their own:"),
          make("pre", {}, make("code", {}, "prefloop study new pilot --run cartpole-01 --participants 20"))),
  );
}

function card({ name, about, runs, participants, closed }) {
  const finished = participants.filter(({ state }) => state === "finished").length;
  const labels = participants.reduce((sum, person) => sum + person.labels, 0);
  return make(
    "li",
    { class: "card" },
    make("h2", {}, make("a", { href: `#/studies/${encodeURIComponent(name)}` }, name)),
    make("p", {}, about.title),
    make("p", { class: "faint" },
      `${closed ? "closed · " : ""}${(runs.pairs ?? []).join(", ")} · ${finished} of ${count(participants.length, "participant")} finished · ${count(labels, "answer")}`),
  );
}

async function showTable(view, signal, name) {
  const load = async () => {
    const [study, doubted] = await Promise.all([getStudy(name), getStudyDoubts(name)]);
    return { study, doubted };
  };
  const found = await foundOrShown(view, name, load, signal);
  if (!found) return;
  const summary = make("p", { class: "faint" });
  const body = make("tbody");
  const mistake = mistakeLine();
  const rows = new Map();
  const suspicious = make("div", { class: "study-doubts" });
  let told = "";
  const update = ({ study: { participants, closed }, doubted }) => {
    const finished = participants.filter(({ state }) => state === "finished").length;
    setText(summary, `${closed ? "Closed. " : ""}${finished} of ${count(participants.length, "participant")} finished. Times are those of ${ZONE}.`);
    const there = new Set(participants.map(({ ref }) => ref));
    for (const [ref, { node }] of rows) {
      if (there.has(ref)) continue;
      node.remove();
      rows.delete(ref);
    }
    for (const person of participants) {
      if (!rows.has(person.ref)) {
        rows.set(person.ref, row(person, end, erase));
        body.append(rows.get(person.ref).node);
      }
      rows.get(person.ref).update(person, doubted.find(({ ref }) => ref === person.ref));
    }
    if (told === JSON.stringify(doubted)) return; // the rule stays open while somebody reads it
    told = JSON.stringify(doubted);
    const [list, rule] = doubtList(doubted);
    suspicious.replaceChildren(...[list, rule].filter(Boolean));
  };
  const end = (ref) => orSay(mistake, async () => {
    await revokeLink(name, ref);
    update(await load());
    say(`The link of ${ref} holds no longer.`);
  });
  /** Asks whether all that is stored of somebody is to go. */
  const erase = ({ ref, annotator }) => orSay(mistake, async () => {
    askToForget(annotator, await getDataOf(annotator), forget, async () => {
      update(await load());
      say(`All that was stored of ${ref} is deleted.`);
    });
  });
  const remove = () => askToDelete({
    title: `Delete the study ${name}?`,
    text: `${count(rows.size, "participant")} with their links, consents and codes would be gone for good. Their answers stay in the runs under their names, unless you say otherwise.`,
    name,
    button: "Delete for good",
    option: "Delete their answers, too",
    act: async (withAnswers) => {
      await deleteStudy(name, withAnswers);
      say(`The study ${name} is deleted.`);
      window.location.hash = "#/studies";
    },
  });
  view.replaceChildren(
    make("div", { class: "page-head" }, make("h1", { tabindex: "-1" }, "Study ", name), make("a", { class: "button", href: "#/studies" }, "All studies")),
    summary,
    make("div", { class: "study-table card", tabindex: "0", role: "region", "aria-label": "Participants" },
      make("table", {}, make("thead", {}, make("tr", {}, COLUMNS.map((title) => (title ? make("th", { scope: "col" }, title) : make("td"))))), body)),
    mistake,
    suspicious,
    make("p", { class: "faint" }, "As a file: ", make("code", {}, `prefloop study show ${name} --csv ${name}.csv`)),
    make("p", {}, make("button", { type: "button", onclick: remove }, "Delete the study …")),
  );
  update(found);
  repeat(async () => {
    const now = await load();
    if (!signal.aborted) update(now);
  }, REFRESH, signal);
}

/** A participant's line: {node, update(person)}. */
function row(person, end, erase) {
  const { ref } = person;
  const cells = COLUMNS.slice(1, -1).map(() => make("td"));
  const name = `End the link of ${ref}`;
  const button = make("button", { type: "button", class: "plain", "aria-label": name }, "End link");
  let asked = false;
  button.addEventListener("click", () => {
    if (asked) end(ref);
    else {
      setText(button, "Really end it?");
      button.setAttribute("aria-label", `Really end it? ${name}`);
      say("Really end it?");
    }
    asked = true;
  });
  button.addEventListener("blur", () => {
    asked = false;
    setText(button, "End link");
    button.setAttribute("aria-label", name);
  });
  const gone = make("button", { type: "button", class: "plain", "aria-label": `Delete all that is stored of ${ref}`, onclick: () => erase(person) }, "Delete data …");
  const node = make("tr", { "data-ref": ref }, make("th", { scope: "row" }, ref), cells, make("td", {}, button, " ", gone));
  const update = (now, doubted) => {
    const { state, started_at: started, consented_at: consented, ended_at: ended, labels, checks, passed, code } = now;
    const texts = [STATES[state], time(started), time(consented), time(ended), labels, checks ? `${passed} of ${checks}` : "–", code ?? "–"];
    texts.forEach((text, i) => setText(cells[i], String(text)));
    cells[texts.length].replaceChildren(...(doubted ? marks(doubted) : []));
    button.hidden = state === "revoked";
  };
  return { node, update };
}

function time(at) {
  return at ? new Date(at).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }) : "–";
}
