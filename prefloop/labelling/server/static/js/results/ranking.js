// How the votes of an arena rank its policies, and how sure that is.

import { count, make } from "../common/dom.js";
import { intervals } from "./charts.js";
import { legend, section, table } from "./parts.js";

/** What stands there for those who vote and have no other token. */
export function blind() {
  const why = "Which policies these are, and how the votes rank them, shows with the trainers' token: whoever votes is not to know.";
  return section("Ranking", make("p", { class: "faint" }, why));
}

export function rankingCard(ranking) {
  const { agents, groups, tie, votes, skips } = ranking;
  const ranked = agents.filter(({ strength }) => strength !== null);
  const ties = agents.reduce((sum, agent) => sum + agent.ties, 0) / 2;
  const counted = make("p", {}, `${count(votes, "vote")}, ${count(ties, "tie")}, ${count(skips, "skip")}.`);
  if (!ranked.length) return section("Ranking", counted, make("p", { class: "faint" }, "Nobody is ranked yet."));
  return section(
    "Ranking",
    counted,
    intervals(ranked.map(asInterval), "Strength, with its 95% interval"),
    legend([["median", "strength"], ["spread", "95% interval"], ["zero", groups.length > 1 ? "the mean of those that votes connect" : "the mean of all"]]),
    make("p", { class: "faint" }, `A policy that is 1 stronger than another is preferred to it 2.7 times as often as the other way round.${ties ? ` Between two equals, ${sure(tie)} of the votes would be ties.` : ""}`),
    ...apart(groups),
    table("Votes of each policy", ["Policy", "Strength", "95% interval", "Won", "Lost", "Tied"], ranked.map(asRow)),
    make("h3", {}, "How likely the row beats the column"),
    make("p", { class: "faint" }, "A tie counts half to each. In brackets, in how many resamples of the votes the row is ranked above the column: how sure the order is, as far as the votes so far can tell."),
    table("How likely each policy beats each", ["", ...ranked.map(({ name }) => name)], ranked.map((agent, i) => [
      agent.name,
      ...ranked.map((_, j) => (ranking.beats[i][j] === null ? "–" : `${sure(ranking.beats[i][j])} (${sure(ranking.above[i][j])})`)),
    ])),
  );
}

function asInterval({ name, low, strength: value, high }) {
  return { name, low, value, high, text: signed(value) };
}

function asRow({ name, strength, low, high, wins, losses, ties }) {
  return [name, signed(strength), `${signed(low)} to ${signed(high)}`, ...[wins, losses, ties].map((value) => value.toLocaleString("en"))];
}

/** Says which policies can't be compared, if there are any. */
function apart(groups) {
  const together = groups.filter((group) => group.length > 1);
  const alone = groups.filter((group) => group.length === 1).flat();
  const said = [];
  if (together.length > 1) said.push(`No votes connect ${together.map((group) => group.join(", ")).join(" with ")}: strengths are relative to each group's own mean.`);
  if (alone.length) said.push(`Not ranked, since no votes are about them yet: ${alone.join(", ")}.`);
  return said.map((text) => make("p", { class: "apart" }, text));
}

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

/** A share in percent that is never called certain. */
function sure(share) {
  if (share > 0.995) return ">99%";
  return share < 0.005 ? "<1%" : `${Math.round(100 * share)}%`;
}
