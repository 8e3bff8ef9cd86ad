"""What many pairs of a game take on disk, and what memory a reward takes that is fitted to them.

    python benchmarks/pictures_memory.py --pairs 5500 --pixels 84

Segments of 25 steps of Pong, played at random; a pass over the answers by `prefloop reward`, whose process is looked at. Two minutes for the
games, and one pass of 5,500 pairs at 84 pixels takes five.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prefloop.data import dataset
from prefloop.data.preferences import Preferences
from prefloop.data.recording import record_episodes
from prefloop.data.segments import cut
from prefloop.envs.settings import EnvSettings

LENGTH, EPISODES, STEPS = 25, 8, 1000


def write(env: EnvSettings, pairs: int, folder: Path) -> None:
    """Pairs of segments of random play, which are answered by the true return."""
    rng = np.random.default_rng(0)

    def act(obs: NDArray) -> NDArray:
        return rng.integers(6, size=len(obs))

    with dataset.writing(folder, {**env.facts, "source": "benchmark"}) as writer:
        while len(writer) < pairs:
            episodes = record_episodes(env, act, EPISODES, seed=len(writer))
            segments = cut(episodes, LENGTH, EPISODES * STEPS // LENGTH, rng)
            first, second = rng.permutation(len(segments) // 2 * 2).reshape(2, -1)
            some = slice(0, pairs - len(writer))
            gap = np.sign(segments.returns[second] - segments.returns[first])
            writer.append(Preferences(segments, first[some], second[some], (gap[some] + 1) / 2))


def main() -> None:
    """Writes, fits and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5500)
    parser.add_argument("--pixels", type=int, default=84)
    arguments = parser.parse_args()
    env = EnvSettings(env="ALE/Pong-v5", pixels=arguments.pixels, horizon=STEPS)
    with tempfile.TemporaryDirectory() as folder:
        pairs, reward = Path(folder) / "pairs", Path(folder) / "reward"
        begin = time.monotonic()
        write(env, arguments.pairs, pairs)
        raw = 2 * arguments.pairs * (LENGTH + env.frame_stack - 1) * arguments.pixels**2
        disk = sum(file.stat().st_size for file in pairs.iterdir())
        print(
            f"{arguments.pairs} pairs of {LENGTH} steps at {arguments.pixels} pixels, {time.monotonic() - begin:.0f} s to make"
        )
        print(f"each frame once: {raw / 1e9:.2f} GB; on disk {disk / 1e9:.3f} GB", flush=True)
        begin = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "prefloop", "reward", "--preferences", str(pairs), "--reward_epochs", "1", "--out", str(reward)],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        print(f"one pass: {time.monotonic() - begin:.0f} s, at most {peak / 1e9:.2f} GB of memory")


if __name__ == "__main__":
    main()
