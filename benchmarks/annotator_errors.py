"""What it is worth to learn how often each annotator errs, where some of them are careless.

    python benchmarks/annotator_errors.py

Twenty simulated annotators label segments of Pendulum-v1, by random torques, one label a pair: careful ones turn
10 % of their labels round; of four careless ones the first always prefers what is shown left, the second throws
coins, and two turn 40 % round. A reward is fitted to the same labels with `--annotator_errors none` and `learned`,
and to those of the careful alone, as if somebody had excluded the others; and with one rate that all share, which
says what of the gain is not from telling annotators apart. Accuracy is on 1,000 pairs of other
episodes, answered by the true return, without any error. Prints tables in Markdown: means over seeds.
"""

import argparse

import numpy as np
import torch
from numpy.typing import NDArray

from prefloop.data.preferences import Preferences
from prefloop.data.rollouts import collect_episodes
from prefloop.data.segments import Segments, cut
from prefloop.envs.make import make_vector_env
from prefloop.envs.spaces import Spaces, spaces_of
from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import RewardFit, make_model

ENV, EPISODES, LENGTH, CLEAN = "Pendulum-v1", 50, 25, 1000
OTHER_EPISODES = 1000  # on top of a seed: of those that judge
CARELESS = ["always left", "a coin", "40 % wrong", "40 % wrong too"]
# how many of each kind there are: the crowd that is asked about, one without careless people, and a bad one
CROWDS = {
    "16 careful, 4 careless": (16, 1),
    "20 careful": (20, 0),
    "8 careful, 12 careless": (8, 3),
}


def pool(seed: int) -> tuple[Segments, Spaces]:
    """Segments of a policy that pushes at random."""
    envs, rng = make_vector_env(ENV, 10), np.random.default_rng((seed, 0))
    spaces = spaces_of(envs)
    episodes = collect_episodes(envs, lambda obs: rng.uniform(-2, 2, (len(obs), 1)), EPISODES, seed)
    return cut(episodes, LENGTH, 2 * CLEAN, rng), spaces


def clean(segments: Segments, pairs: int, rng: np.random.Generator) -> Preferences:
    """Pairs of segments, answered by their true returns."""
    first, second = rng.permutation(len(segments))[: 2 * pairs].reshape(2, -1)
    labels = (segments.returns[second] > segments.returns[first]).astype(float)
    return Preferences(segments, first, second, labels)


def answered(
    true: NDArray, careful: int, of_each: int, rng: np.random.Generator
) -> tuple[NDArray, list[str]]:
    """Labels of annotators who take turns, and who gave each."""
    kinds = ["careful"] * careful + CARELESS * of_each
    who = np.arange(len(true)) % len(kinds)
    kind = np.array(kinds)[who]
    chance = np.select([kind == "careful", kind == "a coin"], [0.1, 0.5], 0.4)
    labels = np.where(rng.random(len(true)) < chance, 1 - true, true)
    # which of the two is shown left is drawn for every label
    labels = np.where(kind == "always left", rng.integers(2, size=len(true)), labels)
    return labels, [f"{kinds[i]} {i}" for i in who]


def fitted(labelled: Preferences, who: list[str] | None, spaces: Spaces, seed: int) -> RewardFit:
    """A reward as `prefloop reward` fits it."""
    settings = RewardSettings()
    fit = RewardFit(make_model(spaces, settings, seed), labelled, settings, seed, annotators=who)
    for epoch in range(settings.epochs):
        fit.iterate(epoch)
        if fit.finished:
            break
    fit.finish()
    return fit


def accuracy(fit: RewardFit, judged: Preferences) -> float:
    """Share of pairs whose answer the fitted reward predicts."""
    predicted = fit.model.returns(judged.segments).mean(axis=0)
    gap = predicted[judged.second] - predicted[judged.first]
    return float(((gap > 0) == (judged.labels > 0.5)).mean())


def main() -> None:
    """Prints accuracies and learned rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--labels", type=int, nargs="+", default=[200, 400, 800])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rates: dict[str, list[float]] = {}
    print(
        "| annotators | labels | none | one rate for all | learned | learned less none | the careful alone |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    for crowd, (careful, of_each) in CROWDS.items():
        for number in arguments.labels:
            rows = []
            for seed in range(arguments.seeds):
                rng = np.random.default_rng((seed, 1))
                segments, spaces = pool(seed)
                judged = clean(pool(seed + OTHER_EPISODES)[0], CLEAN, rng)
                asked = clean(segments, number, rng)
                labels, who = answered(asked.labels, careful, of_each, rng)
                labelled = Preferences(asked.segments, asked.first, asked.second, labels)
                good = np.array([name.startswith("careful") for name in who])
                learned = fitted(labelled, who, spaces, seed)
                fits = [
                    fitted(labelled, None, spaces, seed),
                    fitted(labelled, ["all"] * number, spaces, seed),
                    learned,
                    fitted(labelled[good], None, spaces, seed),
                ]
                rows.append([accuracy(fit, judged) for fit in fits])
                if crowd == next(iter(CROWDS)) and number == arguments.labels[-1]:
                    for name, said in learned.annotators.items():
                        rates.setdefault(name.rpartition(" ")[0], []).append(said["error"])
            none, shared, with_errors, alone = np.array(rows).T
            gain = with_errors - none
            print(
                f"| {crowd} | {number} | {none.mean():.3f} | {shared.mean():.3f} | {with_errors.mean():.3f} | {gain.mean():+.3f} "
                f"({gain.min():+.3f} to {gain.max():+.3f}) | {alone.mean():.3f} |",
                flush=True,
            )
    print(
        f"\n| annotator | learned rate, {arguments.labels[-1]} labels of {next(iter(CROWDS))} | from, to |"
    )
    print("|---|---|---|")
    for name, found in rates.items():
        print(f"| {name} | {np.mean(found):.2f} | {min(found):.2f}, {max(found):.2f} |")


if __name__ == "__main__":
    main()
