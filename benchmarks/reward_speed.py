"""Fitting a reward on 50-step segments: pairs per second, beside the `imitation` library.

    python -m venv imitation
    imitation/bin/pip install torch==2.13.0 imitation gymnasium==0.29.1 "numpy<2"
    python benchmarks/reward_speed.py --imitation_python imitation/bin/python

`imitation` fits one network of 32 x 32 units, prefloop an ensemble of three of them, on the same
number of pairs of the same size, one process at a time, one thread each.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

PAIRS, LENGTH, EPOCHS = 700, 50, 20

IMITATION = f"""
import json, time, warnings
warnings.simplefilter("ignore")
import gymnasium as gym, numpy as np, torch
from imitation.algorithms import preference_comparisons as pc
from imitation.data.types import TrajectoryWithRew
from imitation.rewards.reward_nets import BasicRewardNet
torch.set_num_threads(1)
rng = np.random.default_rng(0)

def fragment():
    obs = rng.standard_normal(({LENGTH} + 1, 3)).astype(np.float32)
    acts = rng.uniform(-2, 2, ({LENGTH}, 1)).astype(np.float32)
    rews = -obs[:-1, 0] ** 2
    return TrajectoryWithRew(obs=obs, acts=acts, infos=None, terminal=False, rews=rews)

pairs = [(fragment(), fragment()) for _ in range({PAIRS})]
preferences = np.array([float(a.rews.sum() > b.rews.sum()) for a, b in pairs], dtype=np.float32)
env = gym.make("Pendulum-v1")
net = BasicRewardNet(env.observation_space, env.action_space, hid_sizes=(32, 32))
dataset = pc.PreferenceDataset()
dataset.push(pairs, preferences)
trainer = pc.BasicRewardTrainer(
    preference_model=pc.PreferenceModel(net), loss=pc.CrossEntropyRewardLoss(), rng=rng,
    epochs={EPOCHS},
)
start = time.perf_counter()
trainer.train(dataset)
print(json.dumps({PAIRS} * {EPOCHS} / (time.perf_counter() - start)))
"""


def ours() -> float:
    """Pairs per second of an ensemble of three; without held-out pairs, as the other."""
    import numpy as np
    import torch

    from prefloop.data.preferences import Preferences
    from prefloop.data.segments import Segments
    from prefloop.envs.spaces import Spaces
    from prefloop.rewards.settings import RewardSettings
    from prefloop.rewards.training import RewardFit, make_model

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    obs = rng.standard_normal((2 * PAIRS, LENGTH, 3)).astype(np.float32)
    segments = Segments(
        obs=obs,
        actions=rng.uniform(-2, 2, (2 * PAIRS, LENGTH, 1)).astype(np.float32),
        mask=np.ones((2 * PAIRS, LENGTH), dtype=bool),
        rewards=-(obs[..., 0] ** 2),
        policy=np.zeros(2 * PAIRS, dtype=np.int64),
        first_step=np.zeros(2 * PAIRS, dtype=np.int64),
    )
    first, second = np.arange(PAIRS), np.arange(PAIRS, 2 * PAIRS)
    labels = (segments.returns[second] > segments.returns[first]).astype(float)
    settings = RewardSettings(ensemble=3, hidden_sizes=(32, 32), held_out=0)
    model = make_model(Spaces((3,), "float32", False, 1), settings, seed=0)
    fitting = RewardFit(model, Preferences(segments, first, second, labels), settings, seed=0)
    start = time.perf_counter()
    for epoch in range(EPOCHS):
        fitting.iterate(epoch)
    return len(fitting.train) * EPOCHS / (time.perf_counter() - start)


def main() -> None:
    """Runs both in turns and prints their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--imitation_python", "--imitation-python", required=True)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only_ours", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only_ours:
        print(json.dumps(ours()))
        return
    ratios = []
    for _ in range(arguments.repeats):
        theirs = _last_line([arguments.imitation_python, "-c", IMITATION])
        mine = _last_line([sys.executable, __file__, "--imitation_python", "", "--only_ours"])
        ratios.append(mine / theirs)
        print(
            f"imitation, one network: {theirs:.0f} pairs/s; prefloop, three: {mine:.0f} pairs/s: "
            f"{ratios[-1]:.1f} times as many"
        )
    print(f"median {statistics.median(ratios):.1f}, lowest {min(ratios):.1f}")


def _last_line(command: list[str]) -> float:
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(result.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
