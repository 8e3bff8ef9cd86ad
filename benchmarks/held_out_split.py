"""What a held-out set is worth where pairs have several answers.

    python benchmarks/held_out_split.py

Thirty pairs of noise, answered ten times each by coins: there is nothing to learn. "By pair" is how
`prefloop` splits; "by answer" is the same fit on segments of which every answer has copies of its
own, told apart by a millionth, so that each answer falls on a side for itself.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from prefloop.data.preferences import Preferences
from prefloop.data.segments import Segments
from prefloop.envs.spaces import Spaces
from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import RewardFit, make_model

PAIRS, ANSWERS, LENGTH, OBS_DIM, ACTIONS = 30, 10, 20, 4, 2
MILLIONTH = 1e-6

# labels of the answers, [PAIRS * ANSWERS], pair after pair
CASES: dict[str, Callable[[np.random.Generator], NDArray]] = {
    "a coin for each pair, ten who agree": lambda rng: rng.integers(2, size=PAIRS).repeat(ANSWERS),
    "a coin for each answer": lambda rng: rng.integers(2, size=PAIRS * ANSWERS),
}


def noise(rng: np.random.Generator) -> Segments:
    """Two segments for each pair, of numbers that mean nothing."""
    num = 2 * PAIRS
    return Segments(
        obs=rng.normal(size=(num, LENGTH, OBS_DIM)).astype(np.float32),
        actions=rng.integers(ACTIONS, size=(num, LENGTH)),
        mask=np.ones((num, LENGTH), dtype=bool),
        rewards=np.zeros((num, LENGTH), dtype=np.float32),
        policy=np.zeros(num, dtype=np.int64),
        first_step=np.zeros(num, dtype=np.int64),
    )


def answered(labels: NDArray, rng: np.random.Generator) -> Preferences:
    """Ten answers to each of the pairs, in any order."""
    pair = rng.permutation(np.arange(PAIRS).repeat(ANSWERS))
    by_pair = labels.reshape(PAIRS, ANSWERS)
    shuffled = np.empty(len(pair))
    for i in range(PAIRS):
        shuffled[pair == i] = by_pair[i]
    return Preferences(noise(rng), 2 * pair, 2 * pair + 1, shuffled)


def with_own_segments(preferences: Preferences, rng: np.random.Generator) -> Preferences:
    """The same answers to segments that nobody could tell apart, but no two answers share one."""
    order = np.stack([preferences.first, preferences.second], axis=1).ravel()
    segments = preferences.segments[order]
    shaken = segments.obs + MILLIONTH * rng.normal(size=segments.obs.shape)
    first = 2 * np.arange(len(preferences))
    own = replace(segments, obs=shaken.astype(np.float32))
    return Preferences(own, first, first + 1, preferences.labels)


def fit(preferences: Preferences, seed: int) -> tuple[float, int, int]:
    """Held-out accuracy of the pass that is kept, its number, and how many passes there were."""
    settings = RewardSettings()
    model = make_model(Spaces((OBS_DIM,), "float32", True, ACTIONS), settings, seed)
    fitting = RewardFit(model, preferences, settings, seed)
    rows: list[dict[str, float]] = []
    while not fitting.finished and len(rows) < settings.epochs:
        rows.append(fitting.iterate(len(rows)))
    return rows[fitting.best_epoch]["held_out_accuracy"], fitting.best_epoch, len(rows)


def main() -> None:
    """Prints a table: means over seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100)
    seeds = range(parser.parse_args().seeds)
    torch.set_num_threads(1)
    print("| answers | split | held-out accuracy | from, to | pass that is kept | passes |")
    print("|---|---|---|---|---|---|")
    for name, draw in CASES.items():
        for split in ("by answer", "by pair"):
            found = []
            for seed in seeds:
                rng = np.random.default_rng(seed)
                preferences = answered(draw(rng), rng)
                if split == "by answer":
                    preferences = with_own_segments(preferences, rng)
                found.append(fit(preferences, seed))
            accuracy, kept, passes = np.array(found).T
            print(
                f"| {name} | {split} | {accuracy.mean():.2f} | {accuracy.min():.2f}, "
                f"{accuracy.max():.2f} | {kept.mean():.0f} | {passes.mean():.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
