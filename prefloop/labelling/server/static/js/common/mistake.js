// What somebody asked for and the server can't or won't do, told where they asked.

import { Refused, Unreachable } from "./api.js";
import { make, setText } from "./dom.js";

/** Where it is told. */
export function mistakeLine() {
  return make("p", { class: "mistake", role: "alert" });
}

/** Does what was asked for; where that is refused, `line` says why. Resolves with whether it was done. */
export async function orSay(line, job) {
  setText(line, "");
  try {
    await job();
    return true;
  } catch (error) {
    if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
    setText(line, error.message);
    return false;
  }
}
