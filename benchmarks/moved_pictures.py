"""What moving pictures at random is worth to a reward that learns from few answers, on the dot.

    python benchmarks/moved_pictures.py --seeds 0-2 --labels 200

Pairs of ten steps, of actions that are random or half of the time right; rewards are judged by their rank correlation with the
true one on steps of other episodes. Half a minute of a core a fit of 200 answers.
"""

import argparse

import numpy as np
import torch
from many_runs import seeds_of
from numpy.typing import NDArray

from prefloop.data.preferences import Preferences
from prefloop.data.recording import record_episodes
from prefloop.data.segments import concatenate, cut
from prefloop.data.trajectories import Trajectories
from prefloop.envs.dot import DOT, ENV_ID, TARGET
from prefloop.envs.settings import EnvSettings
from prefloop.envs.spaces import Spaces
from prefloop.evaluation.statistics import rank_correlation
from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import fit, make_model

SPACES = Spaces((2, 16, 16), "uint8", True, 5, frame_stack=2)


def towards(picture: NDArray) -> int:
    """The action that brings the dot nearer to the target."""
    (y, x), target = np.argwhere(picture == DOT)[0], np.argwhere(picture == TARGET).mean(axis=0)
    down, right = target - (y, x)
    if abs(right) > abs(down):
        return 4 if right > 0 else 3
    return 2 if down > 0 else 1


def played(share: float, episodes: int, seed: int) -> Trajectories:
    """Episodes in which this share of the actions is right, and the others random."""
    rng = np.random.default_rng([seed, round(100 * share)])

    def act(obs: NDArray) -> NDArray:
        right = [towards(stack[-1]) for stack in obs]
        return np.where(rng.random(len(obs)) < share, right, rng.integers(5, size=len(obs)))

    return record_episodes(EnvSettings(env=ENV_ID, frame_stack=2), act, episodes, seed)


def main() -> None:
    """Fits and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--labels", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for shift in (0, 4):
        found = []
        for seed in seeds_of(arguments.seeds):
            rng, labels = np.random.default_rng(seed), arguments.labels
            segments = concatenate([cut(played(x, 40, seed), 10, labels, rng) for x in (0.0, 0.5)])
            first, second = rng.permutation(len(segments))[: 2 * labels].reshape(2, labels)
            gap = np.sign(segments.returns[second] - segments.returns[first])
            settings = RewardSettings(shift=shift)
            answers = Preferences(segments, first, second, (gap + 1) / 2)
            model, _ = fit(make_model(SPACES, settings, seed), answers, settings, seed)
            judged = played(0.5, 20, seed + 1000)
            learned = model.reward(np.asarray(judged.obs), judged.actions)
            found.append(rank_correlation(learned, judged.rewards))
        print(
            f"moved by up to {shift} pixels, {arguments.labels} answers: {np.round(found, 2)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
