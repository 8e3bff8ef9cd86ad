// A participant's way through a study: each step on a page of its own, as the server says which it is.

import {
  checkComprehension, enterStudy, finishStudy, getOwnData, getStudySettings, getWay, joinStudy, leaveStudy, pause, persist, Refused, takeStep,
} from "../common/api.js";
import { make, setText } from "../common/dom.js";
import { explain } from "../common/keys.js";
import { mistakeLine } from "../common/mistake.js";
import { say } from "../common/say.js";
import { newLinkToken, parameter, setParticipant, setToken, token } from "../common/session.js";
import { browser } from "../common/storage.js";
import { speak, word } from "../common/words.js";
import { outbox } from "../label/outbox.js";
import { example } from "./clips.js";
import { dataCard } from "./data.js";
import { markdown } from "./markdown.js";
import { nextPause, showStudyPairs } from "./pairs.js";
import { action, buttons, card, leaveButton, prose } from "./parts.js";
import { Practice } from "./practice.js";

const PLACE = /^\{\{%.*%\}\}$/; // where a recruiting site puts an id: whoever tries the link has none
const AGAIN = 2000; // milliseconds after which it is asked again how the way goes on

/** Shows where a participant is, until the signal says stop. */
export async function showStudy(view, signal) {
  document.body.classList.add("study");
  await new StudyPage(view, signal).begin();
}

class StudyPage {
  #view;
  #signal; // of the whole way
  #step = new AbortController(); // of what is shown

  constructor(view, signal) {
    this.#view = view;
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#step.abort());
  }

  async begin() {
    try {
      let way = await persist(getWay, this.#signal);
      browser.write("language", way.language);
      await speak(way.language);
      if (way.step === "join") way = await this.#join(way);
      if (this.#signal.aborted) return;
      setParticipant(`${way.study}/${way.ref}`);
      outbox.send(); // what was left over when the page was closed
      if (!way.opened) await this.#enter();
      else if (way.elsewhere) this.#elsewhere();
      else this.#show(way);
    } catch (error) {
      this.#refused(error);
    }
  }

  /** Makes a participant of whoever opened the open link; in this browser they stay the same. */
  async #join(way) {
    const given = parameter(way.id_parameter);
    const ref = PLACE.test(given) ? null : given;
    const key = `participant.${way.study}.${ref ?? ""}`;
    const door = token();
    const own = browser.read(key) ?? newLinkToken();
    browser.write(key, own); // before it counts: where the reply is lost, it is sent again
    await persist(() => joinStudy(ref, own), this.#signal).catch((error) => {
      setToken(door);
      throw error;
    });
    setToken(own);
    return persist(getWay, this.#signal);
  }

  async #enter() {
    this.#show(await persist(enterStudy, this.#signal));
  }

  /** Shows another step; what was shown before ends. */
  #show(way) {
    if (this.#signal.aborted) return;
    this.#step.abort();
    this.#step = new AbortController();
    const isWide = way.step === "pairs" || way.step === "practice";
    this.#view.dataset.page = isWide ? "label" : "study";
    this.#view.dataset.step = way.step;
    delete this.#view.dataset.state;
    document.title = way.title || word("title");
    explain({ allow_ties: true, allow_skip: true, allow_trim: true, sees_reward: false });
    const steps = {
      welcome: () => this.#welcome(way),
      consent: () => this.#consent(way),
      instructions: () => this.#instructions(way),
      practice: () => this.#practice(way),
      comprehension: () => this.#comprehension(way),
      pairs: () => this.#pairs(way),
      thanks: () => this.#thanks(way),
      left: () => this.#put(way, card(word("stopped"), make("p", {}, word("stoppedText")))),
      failed: () => this.#put(way, card(word("failed"), make("p", {}, word("failedText")))),
    };
    steps[way.step]();
  }

  /** Puts nodes on the page, under the study's title and step if there is one. */
  #put(way, node) {
    this.#view.replaceChildren(...(way ? [this.#head(way)] : []), node);
    window.scrollTo(0, 0);
    const title = node.querySelector("h1");
    title?.focus();
    const text = title?.textContent ?? "";
    say(`${text}${/[.!?]$/.test(text) ? "" : "."}${way ? ` ${word("step", { step: way.number, of: way.of })}` : ""}`);
  }

  #head(way) {
    const isOver = ["thanks", "left", "failed"].includes(way.step);
    return make(
      "div",
      { class: "study-head" },
      make("p", { class: "study-title" }, way.title || word("title")),
      isOver ? null : make("p", { class: "faint study-step" }, word("step", { step: way.number, of: way.of })),
      this.#dataButton(way),
      isOver ? null : leaveButton(async () => this.#show(await leaveStudy())),
    );
  }

  /** A button that shows what is stored of the participant. */
  #dataButton(way) {
    return make("button", { type: "button", class: "quiet data-button", onclick: () => this.#data(way) }, word("data"));
  }

  /** What is stored of the participant, in place of the step that they are at. */
  async #data(way) {
    try {
      const stored = await persist(getOwnData, this.#signal);
      if (this.#signal.aborted) return;
      this.#begin("data");
      this.#put(null, dataCard(stored, way.privacy, () => this.#goBack()));
    } catch (error) {
      this.#refused(error);
    }
  }

  /** Shows the step that the participant is at. */
  async #goBack() {
    try {
      const way = await persist(getWay, this.#signal);
      if (way.elsewhere) this.#elsewhere();
      else this.#show(way);
    } catch (error) {
      this.#refused(error);
    }
  }

  /** Begins to show something that is no pair; what was shown before ends. */
  #begin(step) {
    this.#step.abort();
    this.#step = new AbortController();
    this.#view.dataset.page = "study";
    this.#view.dataset.step = step;
    delete this.#view.dataset.state;
  }

  /** A button that does a step and shows the next. */
  #next(text, job, mistake) {
    return action(text, async () => this.#show(await job()), mistake, { class: "primary" });
  }

  #welcome(way) {
    const mistake = mistakeLine();
    const node = card(way.title || word("title"), prose(markdown(way.text)), mistake, buttons(this.#next(word("begin"), () => takeStep("welcome"), mistake)));
    this.#put(way, node);
  }

  #consent(way) {
    const mistake = mistakeLine();
    const box = make("input", { type: "checkbox", id: "agree" });
    const agree = async () => {
      if (!box.checked) {
        box.focus();
        setText(mistake, word("agreeFirst"));
        return;
      }
      this.#show(await takeStep("consent", way.digest));
    };
    this.#put(way, card(
      way.title || word("title"),
      prose(markdown(way.text)),
      make("p", { class: "agree" }, box, " ", make("label", { for: "agree" }, word("agree"))),
      mistake,
      buttons(
        action(word("decline"), async () => this.#show(await leaveStudy()), mistake),
        action(word("agreeButton"), agree, mistake, { class: "primary" }),
      ),
    ));
  }

  #instructions(way) {
    const mistake = mistakeLine();
    const { signal } = this.#step;
    const examples = way.examples.map((one, i) => example(one, word("example", { number: i + 1 }), signal));
    this.#put(way, card(
      word("lookFor"),
      prose(markdown(way.text)),
      ...(examples.length ? [make("h2", {}, word("examples")), ...examples] : []),
      mistake,
      buttons(this.#next(word("goOn"), () => takeStep("instructions"), mistake)),
    ));
  }

  async #practice(way) {
    const { signal } = this.#step;
    const { values } = await persist(getStudySettings, signal);
    if (signal.aborted) return;
    const done = async () => {
      try {
        this.#show(await persist(() => takeStep("practice"), signal));
      } catch (error) {
        this.#refused(error);
      }
    };
    const head = make("div", { class: "label-head" }, make("h1", { tabindex: "-1" }, word("practice")), this.#head(way));
    new Practice(this.#view, head, way, values, done, signal);
  }

  #comprehension(way) {
    const mistake = mistakeLine();
    let left = way.attempts_left;
    const fields = way.questions.map(({ question, options }, i) => {
      const note = make("p", { class: "mistake" });
      const node = make(
        "fieldset",
        { class: "question" },
        make("legend", {}, question),
        options.map((option, j) => {
          const id = `question-${i}-${j}`;
          return make("div", {}, make("input", { type: "radio", name: `question-${i}`, value: j, id }), " ", make("label", { for: id }, option));
        }),
        note,
      );
      const chosen = () => node.querySelector("input:checked")?.value ?? null;
      return { node, note, chosen };
    });
    const check = async () => {
      const chosen = fields.map((field) => field.chosen());
      for (const { note } of fields) setText(note, "");
      if (chosen.includes(null)) {
        fields[chosen.indexOf(null)].node.querySelector("input").focus();
        setText(mistake, word("chooseAll"));
        return;
      }
      const said = await checkComprehension(chosen.map(Number), left);
      if (said.way.step !== "comprehension") {
        this.#show(said.way);
        return;
      }
      left = said.way.attempts_left;
      for (const i of said.wrong) setText(fields[i].note, word("notRight"));
      setText(mistake, `${word("wrong", { n: said.wrong.length })} ${word("tries", { n: left })}`);
    };
    this.#put(way, card(
      word("questions"),
      make("p", { class: "faint" }, word("questionsIntro")),
      ...fields.map(({ node }) => node),
      mistake,
      buttons(action(word("check"), check, mistake, { class: "primary" })),
    ));
  }

  #pairs(way) {
    showStudyPairs(this.#view, way, () => this.#blockIsOver(way), this.#step.signal);
    this.#view.querySelector(".label-head").append(this.#dataButton(way), leaveButton(async () => this.#show(await leaveStudy())));
  }

  /** All pairs up to a pause are answered, or no more are given: the server knows how it goes on. */
  async #blockIsOver(before) {
    const { signal } = this.#step;
    try {
      const way = await persist(getWay, signal);
      if (signal.aborted) return;
      if (way.elsewhere) this.#elsewhere();
      else if (way.step !== "pairs") this.#show(way);
      else if (way.block && way.answered < way.pairs && way.answered >= nextPause(before)) this.#pause(way);
      else this.#show(await persist(finishStudy, signal));
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Refused) || error.status !== 409 || error.reason === "full") {
        this.#refused(error);
        return;
      }
      // somebody let go of a pair meanwhile
      await pause(AGAIN, signal);
      if (!signal.aborted) await this.#goBack();
    }
  }

  #pause(way) {
    this.#begin("pause");
    const text = way.pause ? prose(markdown(way.pause)) : null;
    const on = make("button", { type: "button", class: "primary", onclick: () => this.#show(way) }, word("goOn"));
    this.#put(way, card(word("pause"), text, make("p", {}, word("pauseText", { done: way.answered, n: way.pairs })), buttons(on)));
  }

  #thanks(way) {
    const parts = way.text ? [prose(markdown(way.text))] : [make("p", {}, word("thanksText"))];
    if (way.code) {
      const copied = make("span", { role: "status" });
      const copy = async () => {
        await navigator.clipboard?.writeText(way.code);
        setText(copied, word("copied"));
      };
      parts.push(make("p", { class: "code-line" }, `${word("code")} `, make("code", { class: "code" }, way.code), " ",
        navigator.clipboard ? make("button", { type: "button", onclick: copy }, word("copy")) : null, " ", copied));
    }
    if (way.return_address) {
      parts.push(make("p", {}, make("a", { class: "button primary", href: way.return_address, rel: "noreferrer" }, word("backToSite"))));
    }
    this.#put(way, card(word("thanks"), ...parts));
  }

  #elsewhere() {
    this.#begin("elsewhere");
    const mistake = mistakeLine();
    const here = action(word("here"), () => this.#enter(), mistake, { class: "primary" });
    this.#view.replaceChildren(card(word("elsewhere"), make("p", {}, word("elsewhereText")), mistake, buttons(here)));
    this.#view.querySelector("h1").focus();
  }

  /** The link holds no longer, or there is no room in the study. */
  #refused(error) {
    if (this.#signal.aborted) return;
    if (!(error instanceof Refused)) throw error;
    this.#begin("ended");
    const isRevoked = error.status === 403;
    this.#view.replaceChildren(
      card(isRevoked ? word("ended") : word("title"), make("p", {}, isRevoked ? word("endedText") : error.message)),
    );
    this.#view.querySelector("h1").focus();
  }
}
