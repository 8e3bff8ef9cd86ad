"""What a replay buffer takes and how quickly it is given another reward, beside Stable-Baselines3's.

    python benchmarks/replay.py

Steps of HalfCheetah-v5: bytes of a million of them in either buffer, and the time to write PEBBLE's learned
reward, with its defaults, over 100,000.
"""

import tempfile
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.buffers import ReplayBuffer as Theirs

from prefloop.data.replay_buffer import TRUE_REWARDS, ReplayBuffer
from prefloop.envs.spaces import spaces_of
from prefloop.rewards.training import make_model
from prefloop.training.settings import PebbleSettings

STEPS, RELABELLED, ROUNDS = 1_000_000, 100_000, 5


def main() -> None:
    """Fills and relabels a buffer, and prints the figures."""
    torch.set_num_threads(1)
    env = gym.make("HalfCheetah-v5")
    theirs = Theirs(1000, env.observation_space, env.action_space)
    columns = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
    their_bytes = sum(getattr(theirs, name).nbytes for name in columns) // 1000
    spaces = spaces_of(env)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        replay = ReplayBuffer(
            Path(folder), spaces, 1, RELABELLED, extras={TRUE_REWARDS: ("float32", ())}
        )
        files = list(Path(folder).glob("*.npy"))
        our_bytes = sum(file.stat().st_size for file in files) // RELABELLED
        no = np.zeros(1, bool)
        for obs in rng.normal(size=(RELABELLED, 1, spaces.obs_size)):
            action = rng.uniform(-1, 1, (1, spaces.action_dim))
            replay.add(obs, action, np.zeros(1), no, no, no, true_rewards=np.zeros(1))
        model = make_model(spaces, PebbleSettings().reward, 0)
        seconds = []
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            replay.relabel(model.reward)
            seconds.append(time.perf_counter() - begin)
    print(
        f"{STEPS:,} steps: {our_bytes * STEPS / 1e6:.0f} MB here, {their_bytes * STEPS / 1e6:.0f} MB in "
        f"Stable-Baselines3 ({our_bytes / their_bytes:.0%})."
    )
    print(
        f"{RELABELLED:,} steps relabelled in {np.median(seconds):.2f} s (median of {ROUNDS}; "
        f"{min(seconds):.2f} to {max(seconds):.2f})."
    )


if __name__ == "__main__":
    main()
