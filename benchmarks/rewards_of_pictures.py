"""What a reward of pictures makes of few answers, by what it sees them with, on the dot.

    python benchmarks/rewards_of_pictures.py --seeds 0-2 --labels 200

Pairs of ten steps, of actions that are random or half of the time right; rewards are judged by their rank correlation with the
true one on steps of other episodes, and by pairs of these. Half a minute of a core a fit of 200 answers.
"""

import argparse
import time

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
from prefloop.rewards.reward_model import RewardModel
from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import fit, make_model

SPACES = Spaces((2, 16, 16), "uint8", True, 5, frame_stack=2)
VARIANTS = {
    "small": RewardSettings(),
    "small-moved": RewardSettings(shift=4),
    "small-apart": RewardSettings(encoders="apart"),
    "keypoints": RewardSettings(encoder="keypoints"),
    "keypoints-obs": RewardSettings(encoder="keypoints", inputs="obs"),
    "keypoints-obs-6": RewardSettings(encoder="keypoints", inputs="obs", ensemble=6),
}


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


def answered(seed: int, number: int, length: int = 10) -> Preferences:
    """Pairs of segments of episodes that this seed draws, answered by the true return."""
    rng = np.random.default_rng(seed)
    segments = concatenate([cut(played(x, 40, seed), length, number, rng) for x in (0.0, 0.5)])
    first, second = rng.permutation(len(segments))[: 2 * number].reshape(2, number)
    gap = np.sign(segments.returns[second] - segments.returns[first])
    return Preferences(segments, first, second, (gap + 1) / 2)


def judged(model: RewardModel, seed: int) -> tuple[float, float]:
    """Accuracy on pairs, and rank correlation of steps, that the seed's answers have nothing to do with."""
    judge, steps = answered(seed + 1000, 500), played(0.5, 20, seed + 1000)
    returns, decided = model.returns(judge.segments).mean(0), judge.labels != 0.5
    right = (returns[judge.second] > returns[judge.first]) == (judge.labels > 0.5)
    learned = model.reward(np.asarray(steps.obs), steps.actions)
    return float(right[decided].mean()), rank_correlation(learned, steps.rewards)


def main() -> None:
    """Fits and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.variants:
        settings, found, begin = VARIANTS[name], [], time.process_time()
        for seed in seeds_of(arguments.seeds):
            model = make_model(SPACES, settings, seed)
            model, _ = fit(model, answered(seed, arguments.labels), settings, seed)
            found.append(judged(model, seed))
        accuracy, correlation = np.transpose(found)
        print(
            f"{name}, {arguments.labels} answers: accuracy {np.round(accuracy, 3)}, rank correlation "
            f"{np.round(correlation, 2)}, {(time.process_time() - begin) / len(found):.0f} s each",
            flush=True,
        )


if __name__ == "__main__":
    main()
