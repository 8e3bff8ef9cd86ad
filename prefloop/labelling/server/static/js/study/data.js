// What is stored of somebody, in plain words and with their own numbers: for a participant, and for whoever labels.

import { getDataOf, persist, Refused } from "../common/api.js";
import { make } from "../common/dom.js";
import { annotator } from "../common/session.js";
import { timeText, word } from "../common/words.js";
import { markdown } from "./markdown.js";
import { buttons, card, prose } from "./parts.js";

const SHOWN = 12; // digits of a fingerprint

/** The page of somebody who is here without a link, by their name. */
export async function showData(view, signal) {
  const name = annotator();
  const leave = () => (window.location.hash = "#/");
  try {
    if (!name) throw new Refused(404, word("dataNothing"));
    const stored = await persist(() => getDataOf(name), signal);
    if (!signal.aborted) view.replaceChildren(dataCard(stored, "", leave));
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof Refused)) throw error;
    const text = error.status === 404 ? word("dataNothing") : error.message;
    view.replaceChildren(card(word("dataTitle"), make("p", {}, text), buttons(make("button", { type: "button", onclick: leave }, word("dataBack")))));
  }
}

/** A card that says it; `privacy` is what the researcher says of it; `leave()` goes back. */
export function dataCard(stored, privacy, leave) {
  const { participant, name } = stored;
  const told = [
    ["dataNot", "dataNotText"],
    ["dataBrowser", "dataBrowserText"],
    ["dataSeen", "dataSeenText"],
    ["dataLong", "dataLongText"],
    ["dataDelete", participant ? "dataDeleteText" : "dataDeleteAnnotator"],
  ].filter(([title]) => participant || title !== "dataSeen");
  return card(
    word("dataTitle"),
    privacy ? prose(markdown(privacy)) : null,
    make("dl", { class: "data-list" }, rows(stored).map(([title, text]) => make("div", {}, make("dt", {}, word(title)), make("dd", {}, text)))),
    ...told.flatMap(([title, text]) => [make("h2", {}, word(title)), make("p", {}, word(text, { name }))]),
    buttons(make("button", { type: "button", class: "primary", onclick: leave }, word("dataBack"))),
  );
}

/** What there is: [its name among the page's words, what it says] each. */
function rows(stored) {
  const { participant, name, seconds, first, last } = stored;
  const said = [word("dataAnswers", { n: stored.answers }), word("dataSkips", { n: stored.skips }), word("dataUndos", { n: stored.taken_back })];
  const looked = { minutes: Math.floor(Math.round(seconds) / 60), seconds: Math.round(seconds) % 60 };
  return [
    ...(participant ? ofParticipant(participant, name) : [["dataWho", name]]),
    ["dataSaid", `${said.join(", ")}; ${word("dataSaidText")}`],
    ["dataSeconds", word("dataSecondsText", looked)],
    ["dataShown", word("dataShownText", { shown: stored.shown, n: stored.pages })],
    ...(first ? [["dataTimes", word("dataTimesText", { first: timeText(first), last: timeText(last) })]] : []),
    ...(stored.excluded.length ? [["dataExcluded", word("dataExcludedText", { n: stored.excluded.length })]] : []),
    ...(stored.comparisons ? [["dataComparisons", word("dataComparisonsText", { n: stored.comparisons })]] : []),
  ];
}

function ofParticipant(person, name) {
  const { ref, study, steps, practised, attempts } = person;
  const at = (title, time) => (time ? [[title, timeText(time)]] : []);
  const consent = { time: timeText(person.consented_at), digest: `${person.consent?.slice(0, SHOWN)}…` };
  return [
    ["dataWho", word("dataInStudy", { ref, study, name })],
    ["dataLink", word("dataLinkText", { time: timeText(person.created_at) })],
    ["dataDevice", word(person.device ? "dataDeviceText" : "dataDeviceNone")],
    ...at("dataOpened", person.started_at),
    ...(person.consented_at ? [["dataConsent", word("dataConsentText", consent)]] : []),
    ["dataProgress", word("dataProgressText", { steps, practised, attempts })],
    ...(person.has_code ? [["dataCode", person.code ?? word("dataCodeLater")]] : []),
    ...at("dataEnded", person.ended_at),
    ...at("dataRevoked", person.revoked_at),
  ];
}
