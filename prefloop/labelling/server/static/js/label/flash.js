// A sign that a key was heard: what was chosen lights up for a moment, while the next pair is there already.

import { calm } from "../common/player.js";

const MILLISECONDS = 450;

/** Lights the edge of a button or a clip in the colour of its side. */
export function flash(node) {
  if (calm()) return;
  const colour = getComputedStyle(node).getPropertyValue("--side") || "var(--accent)";
  const shadows = [`0 0 0 7px ${colour}`, `0 0 0 7px ${colour}`, "0 0 0 0 transparent"];
  node.animate({ boxShadow: shadows }, { duration: MILLISECONDS, easing: "ease-out" });
}
