// Talking to the server: one function for each thing that the page asks of it.

import { device, isLink, token } from "./session.js";
import { refusalText, word } from "./words.js";

// the page's own folder: a proxy may have put the server below a path of its own
const FOLDER = new URL(".", document.baseURI);
const PATIENCE = 20_000; // milliseconds without anything of a reply, after which it counts as lost
const LONG = { patience: 600_000 }; // of what takes minutes in a large run; programs wait for as long
const PING = 1000; // milliseconds between looks whether the server is back

/** The server has replied, and says no, with a sentence; `reason` is its name for why, if it has one. */
export class Refused extends Error {
  constructor(status, sentence, reason) {
    super(refusalText(status, sentence, reason));
    this.status = status;
    this.reason = reason;
  }
}

/** The server did not reply, or could not do its work now. Asking again may help. */
export class Unreachable extends Error {}

/** Whether the server can be reached. Tells "change"; "token" where one is needed. */
class Connection extends EventTarget {
  reachable = true;
  #timer = null;

  report(reachable) {
    if (!reachable) this.#watch();
    if (reachable === this.reachable) return;
    this.reachable = reachable;
    this.dispatchEvent(new Event("change"));
  }

  demandToken() {
    this.dispatchEvent(new Event("token"));
  }

  #watch() {
    this.#timer ??= setTimeout(async () => {
      this.#timer = null;
      await health().catch(() => {});
      if (!this.reachable) this.#watch();
    }, PING);
  }
}

export const connection = new Connection();

/** How far the server's clock is ahead of this one's, in milliseconds. */
let ahead = 0;

/** The time by the server's clock. */
export function serverNow() {
  return Date.now() + ahead;
}

/** Who asks: a token, and with a participant's link on which device. */
function credentials() {
  if (!token()) return {};
  // of whatever was pasted a header holds ASCII alone; in a token of ours there is nothing to encode
  const headers = { authorization: `Bearer ${encodeURIComponent(token())}` };
  return isLink() ? { ...headers, "prefloop-device": device() } : headers;
}

/** Where on the server a path is. */
function addressOf(path) {
  return new URL(path.replace(/^\//, ""), FOLDER);
}

/** Ends a request when nothing has come of it for so many milliseconds. */
class Patience {
  #controller = new AbortController();
  #milliseconds;
  #timer = null;
  signal = this.#controller.signal;

  constructor(milliseconds) {
    this.#milliseconds = milliseconds;
    this.renew();
  }

  renew() {
    this.end();
    this.#timer = setTimeout(() => this.#controller.abort(), this.#milliseconds);
  }

  end() {
    clearTimeout(this.#timer);
  }
}

/** What the server replies, all of it. However long that is, it counts as lost only where nothing more comes. */
async function send(method, path, body, { patience = PATIENCE, cutShort = "cutShort" } = {}) {
  const headers = credentials();
  if (body !== undefined) headers["content-type"] = "application/json";
  const waiting = new Patience(patience);
  try {
    const reply = await begun(method, path, { headers, body: JSON.stringify(body), signal: waiting.signal });
    if (reply.status >= 500) {
      connection.report(false);
      throw new Unreachable(refusalText(reply.status, (await said(reply, waiting)).sentence));
    }
    connection.report(true);
    const date = Date.parse(reply.headers.get("date") ?? "");
    if (!Number.isNaN(date)) ahead = date - Date.now();
    if (reply.status === 401) connection.demandToken();
    if (!reply.ok) {
      const { sentence, reason } = await said(reply, waiting);
      throw new Refused(reply.status, sentence, reason);
    }
    try {
      return await whole(reply, waiting);
    } catch {
      // the connection broke in the middle of the reply, or nothing more came
      throw new Unreachable(word(cutShort));
    }
  } finally {
    waiting.end();
  }
}

/** A reply of which there are the headers. */
async function begun(method, path, request) {
  try {
    return await fetch(addressOf(path), { method, ...request });
  } catch {
    connection.report(false);
    throw new Unreachable(word("unreachable"));
  }
}

/** A reply's body. */
async function whole(reply, waiting) {
  const pieces = [];
  if (reply.body) {
    const reader = reply.body.getReader();
    while (true) {
      waiting.renew();
      const { done, value } = await reader.read();
      if (done) break;
      pieces.push(value);
    }
  }
  return new Blob(pieces, { type: reply.headers.get("content-type") ?? "" });
}

/** What the server says of what went wrong. */
async function said(reply, waiting) {
  try {
    const { detail, code } = JSON.parse(await (await whole(reply, waiting)).text());
    return { sentence: String(detail), reason: code };
  } catch {
    return { sentence: word("replied", { status: String(reply.status) }) };
  }
}

async function json(method, path, body, options) {
  const reply = await send(method, path, body, options);
  try {
    return JSON.parse(await reply.text());
  } catch {
    throw new Unreachable(word("cutShort")); // by a proxy perhaps, which ends such a reply in order
  }
}

const run = (name) => `/api/runs/${encodeURIComponent(name)}`;
/** In place of a run's name: the pairs of a participant's own study, whose link says which. */
export const STUDY = "";
const place = (name) => (name === STUDY ? "/api/study" : run(name));

export const health = () => json("GET", "/api/health");
export const listRuns = () => json("GET", "/api/runs");
export const getRun = (name) => json("GET", run(name));
export const renameRun = (name, newName) => json("POST", `${run(name)}/rename`, { name: newName });
export const archiveRun = (name) => json("POST", `${run(name)}/archive`);
export const bringRunBack = (name) => json("POST", `${run(name)}/bring-back`);
/** Removes a run with its labels; `althoughItTrains`: also where a program trains on it. */
export const deleteRun = (name, althoughItTrains) => send("DELETE", `${run(name)}?although_it_trains=${althoughItTrains}`, undefined, LONG);
export const getRunSettings = (name) => json("GET", `${run(name)}/settings`);
export const putRunSettings = (name, changes) => json("PUT", `${run(name)}/settings`, changes);
/** Leaves an annotator's labels out of training and agreement, or takes them in again. */
export const exclude = (name, annotator, out) => json("POST", `${run(name)}/${out ? "exclude" : "include"}`, { annotator });
export const getResults = (name) => json("GET", `${run(name)}/results`);
export const getRanking = (name) => json("GET", `${run(name)}/ranking`);
export const getSegment = (id) => json("GET", `/api/segments/${id}`);
export const getTraining = (name) => json("GET", `${run(name)}/training`);
export const getTraces = (name) => json("GET", `${run(name)}/training/traces`);
export const wish = (name, wished) => json("POST", `${run(name)}/training/wishes`, { wish: wished });
export const listComparisons = () => json("GET", "/api/comparisons");
export const getComparison = (id) => json("GET", `/api/comparisons/${encodeURIComponent(id)}`);
export const removeComparison = (id) => send("DELETE", `/api/comparisons/${encodeURIComponent(id)}`);
export const lease = (name, wish) => json("POST", `${place(name)}/leases`, wish);
/** Gives pairs back as the page goes: it hears no reply, and without one they come free all the same. */
export function release(name, held) {
  const headers = { ...credentials(), "content-type": "application/json" };
  const body = JSON.stringify(held);
  fetch(addressOf(`${place(name)}/release`), { method: "POST", headers, body, keepalive: true }).catch(() => {});
}

export const answer = (said) => json("POST", "/api/answers", said);
export const undo = (said) => (said.run === STUDY ? undoInStudy(said) : json("POST", "/api/undo", said));
const undoInStudy = ({ id, session, undoes }) => json("POST", "/api/study/undo", { id, session, undoes });

export const getWay = () => json("GET", "/api/study");
export const getOwnData = () => json("GET", "/api/study/stored");
export const getStudySettings = () => json("GET", "/api/study/settings");
export const joinStudy = (ref, token) => send("POST", "/api/study/join", { ref, token });
export const enterStudy = () => json("POST", "/api/study/enter", { device: device() });
export const takeStep = (step, digest = null) => json("POST", "/api/study/steps", { step, digest });
export const practise = (query, choice) => json("POST", "/api/study/practice", { query, choice });
/** Answers the questions; `left` attempts are shown: sent again with it, the same answers are one attempt. */
export const checkComprehension = (chosen, left) => json("POST", "/api/study/comprehension", { chosen, attempts_left: left });
export const finishStudy = () => json("POST", "/api/study/finish");
export const leaveStudy = () => json("POST", "/api/study/leave");

export const listStudies = () => json("GET", "/api/studies");
export const getStudy = (name) => json("GET", `/api/studies/${encodeURIComponent(name)}`);
export const getStudyDoubts = (name) => json("GET", `/api/studies/${encodeURIComponent(name)}/doubts`);
export const revokeLink = (name, ref) => json("POST", `/api/studies/${encodeURIComponent(name)}/participants/${encodeURIComponent(ref)}/revoke`);
/** Deletes a study; `withAnswers`: and what its participants answered. */
export const deleteStudy = (name, withAnswers) => json("DELETE", `/api/studies/${encodeURIComponent(name)}?answers=${withAnswers}`, undefined, LONG);
/** What is stored of somebody; their name stands in no address. */
export const getDataOf = (annotator) => json("POST", "/api/people/stored", { annotator });
/** Deletes all that is stored of somebody. */
export const forget = (annotator) => json("POST", "/api/people/forget", { annotator }, LONG);
/** A run's labels as a preference dataset, in a zip; with `pseudonyms`, nobody is named. */
export const exportRun = (name, pseudonyms) => send("GET", `${run(name)}/export?pseudonyms=${pseudonyms}`, undefined, LONG);
export const getSettings = () => json("GET", "/api/settings");
export const putSettings = (changes) => json("PUT", "/api/settings", changes);

/** A clip's bytes. They are fetched here and not by the video, which could send no token. */
export const getClip = (url) => send("GET", url, undefined, { cutShort: "clipCutShort" });

/** The pictures that were observed in a segment, on one sheet. */
export const getObserved = (id) => send("GET", `/api/segments/${id}/observed.png`);

/** Does something until the server can be reached; `signal` ends it. Refusals are passed on. */
export async function persist(job, signal) {
  for (let wait = 250; ; wait = Math.min(2 * wait, 4000)) {
    try {
      return await job();
    } catch (error) {
      if (!(error instanceof Unreachable) || signal?.aborted) throw error;
      await pause(wait, signal);
    }
  }
}

/** Does what can as well be done later: where the server can't or won't, nothing happens. */
export async function attempt(job) {
  try {
    await job();
  } catch (error) {
    if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
  }
}

/** Attempts something every so often, while the page is seen; `signal` ends it. */
export function repeat(job, milliseconds, signal) {
  const timer = setInterval(() => document.hidden || attempt(job), milliseconds);
  signal.addEventListener("abort", () => clearInterval(timer));
}

/** Waits; less if the connection comes back or `signal` says stop. */
export function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      connection.removeEventListener("change", changed);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const changed = () => connection.reachable && done();
    const timer = setTimeout(done, milliseconds);
    connection.addEventListener("change", changed);
    signal?.addEventListener("abort", done);
  });
}
