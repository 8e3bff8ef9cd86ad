// Taking answers back. An undo names its answer, so that it can take back no other. Labelling waits a
// little for the server's reply: what is answered meanwhile would be meant for the pair that comes back.

import { connection } from "../common/api.js";
import { outbox } from "./outbox.js";
import { session, uuid } from "../common/session.js";
import { word } from "../common/words.js";

const PATIENCE = 2000; // milliseconds that labelling waits

/**
 * Tells "change" (of `isPending`), "back" (an answer was taken back, and its pair is first in the
 * queue; detail: what was chosen, or null where no button says so), and "sentence" (detail: what
 * became of an undo that took nothing back so far).
 */
export class Undo extends EventTarget {
  #answers = []; // what was said and can be taken back, the last first to go
  #pending = null; // the id of the undo that labelling waits for
  #run;
  #annotator;
  #queue;
  #signal;

  constructor(run, annotator, queue, signal) {
    super();
    this.#run = run;
    this.#annotator = annotator;
    this.#queue = queue;
    this.#signal = signal;
    const own = outbox.waiting().filter((entry) => outbox.isOwn(entry, run, annotator)); // from before a reload
    const takenBack = new Set(own.map(({ said }) => said.undoes));
    this.#answers = own.filter(({ kind, said }) => kind === "answer" && !takenBack.has(said.id)).map(({ said }) => said);
    const listen = (type, act) =>
      outbox.addEventListener(type, ({ detail }) => outbox.isOwn(detail.entry, run, annotator) && act(detail), { signal });
    listen("undone", (detail) => this.#undone(detail));
    listen("refused", (detail) => this.#refused(detail));
    outbox.addEventListener("change", () => this.#lookElsewhere(), { signal });
    connection.addEventListener("change", () => connection.reachable || this.#goOn(), { signal });
  }

  /** Whether labelling is to wait. */
  get isPending() {
    return this.#pending !== null;
  }

  /** Keeps in mind what was said of a pair. */
  remember(said) {
    this.#answers.push(said);
  }

  /** Forgets all answers: they count no longer. */
  forget() {
    this.#answers = [];
  }

  /** Takes the last answer back. */
  begin() {
    if (this.isPending) return;
    const last = this.#answers.pop();
    if (last && outbox.drop(last.id)) {
      // the server has never heard of it: its pair is still ours
      this.#queue.takeBack(last);
      this.#tell("back", last.choice);
      return;
    }
    const undos = outbox.waiting().filter(({ kind }) => kind === "undo");
    if (!last && undos.some(({ said }) => said.undoes === null)) return; // once is enough
    const id = uuid();
    const said = { id, run: this.#run, annotator: this.#annotator, session: session(), undoes: last?.id ?? null };
    this.#wait(id);
    outbox.add("undo", said, this.#run, this.#annotator);
    if (connection.reachable) setTimeout(() => this.#pending === id && this.#goOn(), PATIENCE);
    else this.#goOn();
  }

  /** Labelling goes on, where the server does not reply. */
  #goOn() {
    if (!this.isPending || this.#signal.aborted) return;
    this.#wait(null);
    this.#tell("sentence", word("undoLater"));
  }

  /** Another tab may have sent the undo that is waited for: its pair comes with the next ones. */
  #lookElsewhere() {
    if (!this.isPending || outbox.waiting().some(({ said }) => said.id === this.#pending)) return;
    this.#wait(null);
    this.#queue.look();
  }

  /** The server has taken an answer back. */
  #undone({ entry, reply: { queries } }) {
    if (this.#pending === entry.said.id) this.#wait(null);
    this.#queue.putFirst(queries);
    this.#tell("back", queries[0]?.said?.choice ?? null);
  }

  /** An undo was refused; or an answer, and its undos went with it. */
  #refused({ entry, error, undos }) {
    if ([entry, ...undos].some(({ said }) => said.id === this.#pending)) this.#wait(null);
    this.#answers = this.#answers.filter(({ id }) => id !== entry.said.id);
    if (entry.kind === "undo") this.#tell("sentence", error.message);
    else if (undos.length) this.#tell("sentence", word("undoNothing"));
  }

  #wait(id) {
    this.#pending = id;
    this.#tell("change");
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
