"""How long a preference dataset takes to grow, and what one answer more costs.

python benchmarks/dataset_growth.py
"""

import argparse
import gc
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from prefloop.data import dataset
from prefloop.data.preferences import Preferences
from prefloop.data.segments import Segments

SIZES = (1000, 2000, 4000, 8000)  # pairs
AT_ONCE, LENGTH, OBS_DIM, ACTION_DIM = 100, 200, 17, 6  # HalfCheetah's


def some_pairs(num: int, seed: int) -> Preferences:
    """Pairs of segments that nobody has seen yet."""
    rng = np.random.default_rng(seed)
    segments = Segments(
        obs=rng.normal(size=(2 * num, LENGTH, OBS_DIM)).astype(np.float32),
        actions=rng.uniform(-1, 1, size=(2 * num, LENGTH, ACTION_DIM)).astype(np.float32),
        mask=np.ones((2 * num, LENGTH), dtype=bool),
        rewards=rng.normal(size=(2 * num, LENGTH)).astype(np.float32),
        policy=np.zeros(2 * num, dtype=np.int64),
        first_step=np.zeros(2 * num, dtype=np.int64),
    )
    order = np.arange(2 * num)
    return Preferences(segments, order[:num], order[num:], rng.integers(2, size=num).astype(float))


def grow(folder: Path, pairs: int) -> tuple[float, float]:
    """Seconds to add these pairs, a hundred at a time, and for one answer more."""
    parts = [some_pairs(AT_ONCE, seed) for seed in range(pairs // AT_ONCE)]
    more = some_pairs(1, pairs)
    with dataset.writing(folder, {"env": "HalfCheetah-v5"}) as writer:
        start = time.perf_counter()
        for part in parts:
            writer.append(part)
        grown = time.perf_counter()
        writer.append(more)
        return grown - start, time.perf_counter() - grown


def read(folder: Path) -> tuple[float, float, float]:
    """Seconds; MiB of the arrays that were read; and the most MiB that were held on the way."""
    start = time.perf_counter()
    segments = dataset.read(folder).segments
    seconds = time.perf_counter() - start
    arrays = sum(
        x.nbytes for x in (segments.obs, segments.actions, segments.mask, segments.rewards)
    )
    del segments
    gc.collect()
    tracemalloc.start()
    dataset.read(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return seconds, arrays / 2**20, peak / 2**20


def main() -> None:
    """Prints a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    arguments = parser.parse_args()
    print("pairs  growing  one answer more  on disk  reading    arrays  peak memory of reading")
    for pairs in arguments.sizes:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "prefs"
            grown, one = grow(folder, pairs)
            size = sum(file.stat().st_size for file in folder.iterdir()) / 2**20
            reading, arrays, peak = read(folder)
        print(
            f"{pairs:5}  {grown:5.1f} s  {1000 * one:12.0f} ms  {size:3.0f} MiB  {reading:5.1f} s  "
            f"{arrays:4.0f} MiB  {peak:4.0f} MiB"
        )


if __name__ == "__main__":
    main()
