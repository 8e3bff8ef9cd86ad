// What stands in the clips' place while there is no pair to show.

import { count, make } from "../common/dom.js";

const MORE = "New pairs appear here by themselves.";

/** Title and text for a queue's state. */
function wording(queue, isEmpty) {
  const { state, leftOver, pairs } = queue;
  const problem = pairs.find((pair) => pair.problem)?.problem;
  if (problem) return ["These clips can't be shown", problem];
  if (pairs.length) return ["The clips are on their way …", "They are shown as soon as they are ready."];
  if (state === "waiting") {
    const others = leftOver ? `${count(leftOver, "pair is", "pairs are")} being looked at by others. ` : "";
    return ["Nothing to compare right now", others + MORE];
  }
  if (state === "gone") return ["This run is gone", "Somebody has removed, renamed or archived it, or made it part of a study."];
  if (state === "refused") return ["There are no pairs under this name", `${queue.refusal} The button with the name, above, takes another.`];
  if (state !== "finished") return ["Fetching pairs …", ""];
  if (isEmpty) return ["No pairs yet", MORE];
  if (!leftOver) return ["All pairs so far are done", "Thank you! If training asks for more, they appear here by themselves."];
  const others = `${count(leftOver, "pair")} can only be labelled by others.`;
  return ["Nothing is left for you here", `Thank you! ${others} ${MORE}`];
}

export class Message {
  node = make("div", { class: "message", tabindex: "-1" });
  #shown = "";
  #run;

  constructor(run) {
    this.#run = run;
  }

  /** Forgets what it said, so that it is news another time. */
  clear() {
    this.#shown = "";
  }

  /** Says what the queue is doing; the text for a screen reader, or null if it said so before. */
  show(queue, isEmpty) {
    const [title, text] = wording(queue, isEmpty);
    if (this.#shown === title + text) return null;
    this.#shown = title + text;
    const isOver = !queue.pairs.length && ["finished", "gone"].includes(queue.state);
    const results = make("a", { href: `#/results/${encodeURIComponent(this.#run)}` }, "Results");
    const runs = make("a", { href: "#/" }, "All runs");
    this.node.replaceChildren(
      make("h2", {}, title),
      make("p", {}, text),
      ...(isOver ? [make("p", {}, results, " · ", runs)] : []),
    );
    return `${title}. ${text}`;
  }
}
