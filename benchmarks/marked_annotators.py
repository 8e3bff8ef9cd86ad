"""How often annotators are marked who throw coins, and how often those who err as people do.

    python benchmarks/marked_annotators.py

Studies of twenty people are drawn again and again: pairs of which some are close and some are not, each
answered by a few people, with checks whose answers are known and repeats. The careful answer a pair the more
surely the less close it is, and 5 to 20 % of all without looking; the careless throw a coin for each. What
marks them is the rule of the labelling server's results. Prints a table in Markdown.
"""

import argparse
import uuid
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

from prefloop.labelling.server.doubts import doubts
from prefloop.labelling.server.storage.records import Event

PEOPLE, KNOWN = 20, 20
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Crowd:
    """A study.

    Attributes:
        careless: of the twenty.
        pairs, checks, repeats: that each of them answers.
        answers: people to a pair.
        close: how unlike two clips must be to be told apart in 73 % of looks; half of all pairs are less
            unlike than 0.94.
    """

    careless: int = 4
    pairs: int = 40
    checks: int = 8
    repeats: int = 4
    answers: int = 5
    close: float = 0.25


CROWDS = {
    "4 careless": Crowd(),
    "nobody careless": Crowd(careless=0),
    "10 careless": Crowd(careless=10),
    "4 careless, 3 answers a pair": Crowd(answers=3),
    "4 careless, 24 pairs, 3 checks, 2 repeats": Crowd(pairs=24, checks=3, repeats=2),
    "4 careless, no checks": Crowd(checks=0),
    "4 careless, more than twice as many pairs close": Crowd(close=0.6),
}


def drawn(crowd: Crowd, rng: np.random.Generator) -> tuple[list[Event], dict[object, float]]:
    """What everybody says, and the answers that are known; the careless are the first."""
    number = PEOPLE * crowd.pairs // crowd.answers
    unlike = 1.4 * np.abs(rng.normal(size=number + KNOWN))
    unlike[number:] += 0.5  # checks are none that are close
    right = rng.integers(2, size=number + KNOWN)
    queries = [uuid.UUID(int=i) for i in range(number + KNOWN)]
    asked = np.zeros(number)
    events: list[Event] = []
    for person in range(PEOPLE):
        slips = rng.uniform(0.05, 0.2)
        pairs = np.argsort(asked + rng.uniform(0, 0.5, number))[: crowd.pairs]
        asked[pairs] += 1
        checks = number + rng.choice(KNOWN, crowd.checks, replace=False)
        for i, pair in enumerate([*pairs, *checks, *pairs[: crowd.repeats]]):
            looks = person >= crowd.careless and rng.random() >= slips
            sure = 1 / (1 + np.exp(-unlike[pair] / crowd.close)) if looks else 0.5
            label = float(right[pair] if rng.random() < sure else 1 - right[pair])
            events.append(
                Event(
                    id=uuid.uuid4(), number=len(events) + 1, query=queries[pair], repeat=i >= crowd.pairs + crowd.checks,
                    annotator=str(person), kind="answer", label=label, first_was_left=bool(rng.random() < 0.5),
                    trim=None, seconds=None, created_at=NOW, undoes=None,
                )
            )  # fmt: skip
    return events, {queries[i]: float(right[i]) for i in range(number, number + KNOWN)}


def main() -> None:
    """Prints how often who is marked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200)
    arguments = parser.parse_args()
    print("| of twenty | marked of the careless | of the careful | studies in which one of the careful is |")  # fmt: skip
    print("|---|---|---|---|", flush=True)
    for name, crowd in CROWDS.items():
        rng = np.random.default_rng(0)
        marked = np.zeros((arguments.studies, PEOPLE), dtype=bool)
        for row in marked:
            labels, known = drawn(crowd, rng)
            found = doubts(labels, known=known)
            row[:] = [bool(found[str(person)]) for person in range(PEOPLE)]
        careless, careful = marked[:, : crowd.careless], marked[:, crowd.careless :]
        of_careless = f"{careless.mean():.0%}" if crowd.careless else "-"
        print(f"| {name} | {of_careless} | {careful.mean():.1%} | {careful.any(axis=1).mean():.0%} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
