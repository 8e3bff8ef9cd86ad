// What stands in a run's place where the server will not show it.

import { persist, Refused } from "./api.js";
import { make } from "./dom.js";

/** What `load` finds, once the server is reached; null where it refuses, which is then shown, or the page was left. */
export async function foundOrShown(view, name, load, signal) {
  try {
    const found = await persist(load, signal);
    return signal.aborted ? null : found;
  } catch (error) {
    if (!signal.aborted) showRefusal(view, name, error);
    return null;
  }
}

/** Shows why there is no such page; passes on any error but a refusal. */
function showRefusal(view, name, error) {
  if (!(error instanceof Refused)) throw error;
  view.replaceChildren(
    make("h1", { tabindex: "-1" }, name),
    make("p", { class: "empty" }, error.message, " ", make("a", { href: "#/" }, "All runs")),
  );
}
