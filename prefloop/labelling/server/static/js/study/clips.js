// Pairs that are shown and not asked about: examples, and those to practise on.

import { attempt, getWay, pause } from "../common/api.js";
import { make, setText } from "../common/dom.js";
import { calm, Player } from "../common/player.js";
import { word } from "../common/words.js";
import { Pair } from "../label/pair.js";

const POLL = 700; // milliseconds between looks whether clips are drawn

/** Resolves with a pair whose clips can be shown; `find(way)` finds it in what the server says now. */
export async function loaded(side, find, signal) {
  const pair = new Pair({ query: null, lease: null, expires_at: "", ...side }, signal);
  while (!signal.aborted && !pair.ready && !pair.problem) {
    if (pair.rendered) await new Promise((resolve) => pair.prepare(resolve));
    else {
      await pause(POLL, signal);
      await attempt(async () => {
        const now = find(await getWay());
        if (now) Object.assign(pair, { left: now.left, right: now.right });
      });
    }
  }
  return pair;
}

/** Two clips beside each other, each with what is thought of it. */
export function example(given, number, signal) {
  const words = {
    left: [word("better"), word("worse")],
    right: [word("worse"), word("better")],
    tie: [word("equal"), word("equal")],
  }[given.answer];
  const screens = words.map(() => make("div", { class: "example-screen" }, word("loading")));
  const player = new Player();
  const play = make("button", { type: "button", class: "example-play", hidden: true, onclick: () => player.toggle() });
  player.addEventListener("change", () => setText(play, word(player.playing ? "halt" : "play")));
  const node = make(
    "div",
    { class: "example", role: "group", "aria-label": `${number}` },
    screens.map((screen, i) =>
      make("figure", { class: words[i] === word("worse") ? "worse" : "better" }, screen, make("figcaption", {}, words[i]))),
    play,
  );
  signal.addEventListener("abort", () => player.hide());
  const same = (one) => one.left.segment === given.left.segment && one.right.segment === given.right.segment;
  loaded(given, ({ examples }) => examples.find(same), signal).then((pair) => {
    if (signal.aborted) return;
    if (pair.problem) screens.forEach((screen) => screen.replaceChildren(pair.problem));
    else {
      screens.forEach((screen, i) => screen.replaceChildren(pair.clips[i].node));
      play.hidden = false;
      player.show(pair.clips, !calm());
    }
  });
  return node;
}
