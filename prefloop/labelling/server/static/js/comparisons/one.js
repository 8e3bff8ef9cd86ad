// One comparison on a page of its own.

import { getClip, getComparison, persist, Refused } from "../common/api.js";
import { make } from "../common/dom.js";
import { showComparison } from "./comparison.js";

export async function showOne(view, signal, id) {
  let data;
  try {
    data = await persist(() => getComparison(id), signal);
  } catch (error) {
    if (signal.aborted || !(error instanceof Refused)) throw error;
    const why = error.status === 404 ? error.message : "There is no such comparison.";
    view.replaceChildren(make("h1", { tabindex: "-1" }, "Comparison"), make("p", { class: "empty" }, why, " ", all()));
    return;
  }
  if (signal.aborted) return;
  const names = data.runs.map(({ name }) => name).join(", ");
  document.title = `${names} · prefloop`;
  const by = data.by === null ? "" : `, by ${data.by}`;
  const body = make("div", { class: "comparison" });
  view.replaceChildren(
    make("div", { class: "page-head" }, make("h1", { tabindex: "-1" }, names, " ", make("small", {}, `${data.env}${by}`)), all()),
    body,
  );
  showComparison(body, data, videos(signal), signal);
}

const all = () => make("a", { href: "#/comparisons" }, "All comparisons");

/** Where a video can be played: each is fetched once, with the token, and kept until the page is left. */
function videos(signal) {
  const found = new Map();
  signal.addEventListener("abort", () => found.forEach((address) => address.then(URL.revokeObjectURL, () => {})));
  const load = async (video) => {
    try {
      return URL.createObjectURL(await persist(() => getClip(`/clips/${video}.mp4`), signal));
    } catch (error) {
      found.delete(video);
      throw error instanceof Refused ? new Error("This clip is gone; the comparison may have been removed.") : error;
    }
  };
  return (video) => {
    if (!found.has(video)) found.set(video, load(video));
    return found.get(video);
  };
}
