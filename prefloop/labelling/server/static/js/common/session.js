// Who is here: the token, the annotator's name, and this page's session.

import { browser, tab, whenOthersWrite } from "./storage.js";

/** A random id. `crypto.randomUUID` is missing on pages that come over plain HTTP. */
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// A reload goes on with the same session, and so gets the same queries again. A tab that was
// duplicated must not: while a page lives, nothing is there to be copied.
const own = tab.read("session") ?? uuid();
tab.remove("session");
window.addEventListener("pagehide", () => tab.write("session", own));
window.addEventListener("pageshow", () => tab.remove("session"));

/** This page's session. */
export function session() {
  return own;
}

/** The token that was given, or null. */
export function token() {
  return tab.read("token");
}

export function setToken(given) {
  tab.write("token", given);
}

/** A part of an address as it was meant; as it stands where it was damaged on its way. */
export function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Takes the token out of the address (#token=...), so that it stands in no history. */
export function takeToken() {
  const found = /^#token=([^&/?]+)(.*)/.exec(window.location.hash);
  if (!found) return;
  setToken(decoded(found[1]));
  tab.write("parameters", found[2].replace(/^[?&]/, ""));
  window.history.replaceState(null, "", "#/");
}

/** What a link says beside its token, before or after it: sites that recruit append who comes. */
export function parameter(name) {
  const given = [window.location.search, tab.read("parameters", "")].map((text) => new URLSearchParams(text).get(name));
  return given.find((value) => value) ?? null;
}

const LINK = "link_"; // what the token of a participant's link begins with

/** Whether somebody is here by a link of a study. */
export function isLink() {
  return (token() ?? "").startsWith(LINK);
}

/** A new token for a link: 256 random bits. */
export function newLinkToken() {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  const text = btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return LINK + text;
}

/** This browser, for links that work on one device at a time. */
export function device() {
  const known = browser.read("device");
  if (known) return known;
  const made = uuid();
  browser.write("device", made);
  return made;
}

let participant = null;

/** Who takes part, once it is known: "study/participant". */
export function setParticipant(name) {
  participant = name;
}

/** Whose answers this tab may send: a participant's, or (null) those of whoever shares the annotators' token. */
export function owner() {
  return isLink() ? (participant ?? "nobody yet") : null;
}

/** The annotator's name, or an empty text. */
export function annotator() {
  return browser.read("annotator", "");
}

/** A name as it is kept: what was pasted may hold tabs and the like, which the server takes for no name, and what is not seen. */
export function asName(text) {
  return text.replace(/\p{Cf}/gu, "").replace(/[\p{Cc}\p{Z}]+/gu, " ").trim();
}

export function setAnnotator(name) {
  browser.write("annotator", name);
}

/** Calls `act` when another tab has changed the name. */
export function whenRenamedElsewhere(act) {
  whenOthersWrite((key) => key === "annotator" && act());
}
