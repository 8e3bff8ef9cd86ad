// What a trainer does, in a word or two.

const steps = (number) => number.toLocaleString("en");

/** "learning, step 5,400". */
export function inBrief({ phase, steps: done, until, paused }) {
  if (paused) return `paused, step ${steps(done)}`;
  if (phase === "asking") return `waiting for answers, step ${steps(done)}`;
  if (phase === "exploring" && until !== null) return `exploring, ${steps(done)} of ${steps(until)} steps`;
  return `${phase}, step ${steps(done)}`;
}
