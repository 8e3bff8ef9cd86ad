// The pairs of a participant, up to the next pause: the labelling page, without all that they are not to see.

import { getStudySettings, lease, Refused, release, STUDY } from "../common/api.js";
import { make, setText } from "../common/dom.js";
import { Player } from "../common/player.js";
import { numberText, word } from "../common/words.js";
import { LabelPage } from "../label/label.js";
import { outbox } from "../label/outbox.js";
import { markdown } from "./markdown.js";

/** How far a participant is; the face of `Progress` in label/progress.js. */
class OwnProgress extends EventTarget {
  isEmpty = false;
  #answered;
  #pairs;
  #bar = make("progress", { "aria-label": word("progress") });
  #done = make("b");

  constructor({ answered, pairs }) {
    super();
    this.#answered = answered;
    this.#pairs = pairs;
    this.node = make("div", { class: "progress" }, this.#bar,
      make("p", {}, make("span", {}, this.#done, ` ${word("answered")}`), make("span", {}, make("b", {}, numberText(pairs)), ` ${word("inAll")}`)));
    this.count(0);
  }

  count(labels) {
    this.#answered = Math.min(Math.max(this.#answered + labels, 0), this.#pairs);
    setText(this.#done, numberText(this.#answered));
    this.#bar.max = Math.max(this.#pairs, 1);
    this.#bar.value = this.#answered;
  }

  refreshSoon() {} // nobody else changes it
}

/** What stands there while there is no pair; the face of `Message` in label/message.js. */
class StudyMessage {
  node = make("div", { class: "message", tabindex: "-1" });
  #shown = "";

  clear() {
    this.#shown = "";
  }

  show({ state, pairs }) {
    const problem = pairs.find((pair) => pair.problem)?.problem;
    const isWaiting = state === "waiting" && !pairs.length;
    const title = problem ? word("cantShow") : isWaiting ? word("waiting") : word("loading");
    const text = problem ?? (isWaiting ? word("waitingText") : word("loadingText"));
    if (this.#shown === title + text) return null;
    this.#shown = title + text;
    this.node.replaceChildren(make("h2", {}, title), make("p", {}, text));
    return `${title}. ${text}`;
  }
}

/** Where the participant's next pause is, in answered pairs; null: there is none. How many there are in all, the server knows. */
export function nextPause({ answered, block }) {
  return block ? (Math.floor(answered / block) + 1) * block : null;
}

/** Shows pairs; `over()` is called once when all up to the next pause are answered, or when nothing is given any more. */
export function showStudyPairs(view, way, over, signal) {
  let isOver = false;
  const end = () => {
    if (isOver || signal.aborted) return;
    isOver = true;
    over();
  };
  const source = {
    settings: async () => ({ ...(await getStudySettings()).values, sees_reward: false }),
    lease: async (wish) => {
      try {
        return await lease(STUDY, { ...wish, up_to: nextPause(way) });
      } catch (error) {
        if (error instanceof Refused && error.status !== 401) end(); // the link ended, or goes on elsewhere
        throw error;
      }
    },
    release: (held) => release(STUDY, held),
  };
  const details = way.text
    ? make("details", { class: "instructions" }, make("summary", {}, word("lookFor")), make("div", { class: "prose" }, markdown(way.text)))
    : null;
  new LabelPage(view, {
    run: STUDY,
    annotator: `${way.study}/${way.ref}`,
    title: [way.title || word("title")],
    source,
    player: new Player(),
    progress: new OwnProgress(way),
    message: new StudyMessage(),
    instructions: details,
    microscope: null,
    observed: null,
    training: null,
    smallestSeconds: way.smallest_seconds,
    idle: ({ state, pairs }) => {
      if (state === "finished" && !pairs.length && !outbox.waiting().length) end();
    },
  }, signal);
}
