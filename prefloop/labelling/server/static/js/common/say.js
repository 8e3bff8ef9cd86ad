// What a screen reader is told.

const polite = document.getElementById("polite");

/** Tells a screen reader, when it is done with what it reads. */
export function say(text) {
  // the same text twice is no change, which no screen reader would tell
  polite.textContent = polite.textContent === text ? `${text}\u00a0` : text;
}
