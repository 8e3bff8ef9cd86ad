// What stands in a run's place where the server will not show it.

import { Refused } from "./api.js";
import { make } from "./dom.js";

/** Shows why there is no such page; passes on any error but a refusal. */
export function showRefusal(view, name, error) {
  if (!(error instanceof Refused)) throw error;
  view.replaceChildren(
    make("h1", { tabindex: "-1" }, name),
    make("p", { class: "empty" }, error.message, " ", make("a", { href: "#/" }, "All runs")),
  );
}
