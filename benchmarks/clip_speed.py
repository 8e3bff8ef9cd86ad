"""Clips: seconds of one core for a 50-step CartPole clip, and MuJoCo's frames per second.

    python benchmarks/clip_speed.py

CartPole: from the segment to the stored clip, as the labelling server's worker does it, in seconds
of this process's processor time; the median of ten. MuJoCo, where it and a GL library are
installed: frames drawn per second of wall-clock time, with all that Gymnasium or DM Control draws and
without shadows, reflections and multisampling, in the same run; the environment stands still.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from prefloop.envs.dm_control import NAMESPACE, SIZE
from prefloop.envs.make import make_env
from prefloop.errors import UserError
from prefloop.labelling.arrays import Segment
from prefloop.labelling.server.clips import ClipStore
from prefloop.labelling.server.rendering import Renderer, write_clip


def cartpole(steps: int) -> Segment:
    """A cart that crosses the picture, with its pole swaying."""
    time_ = np.linspace(0, 1, steps)
    obs = np.zeros((steps, 4), dtype=np.float32)
    obs[:, 0], obs[:, 2] = 4 * time_ - 2, 0.2 * np.sin(12 * time_)
    return Segment(obs, np.zeros(steps, dtype=np.int64), np.zeros(steps, dtype=np.float32))


def clip_seconds(directory: Path, renderer: Renderer, segment: Segment) -> tuple[float, int]:
    """Processor time for one clip, and its size in bytes."""
    path, store = directory / "clip.mp4", ClipStore(directory, 10**9)
    start = time.process_time()
    write_clip(path, renderer.frames(segment), renderer.fps)
    clip = store.put_file(path)
    seconds = time.process_time() - start
    stored = store.path(clip)
    assert stored is not None
    size = stored.stat().st_size
    stored.unlink()  # the next is to be stored again
    return seconds, size


def frames_per_second(draw: Callable[[], Any], frames: int) -> float:
    """How quickly pictures are drawn, without the first."""
    draw()
    start = time.perf_counter()
    for _ in range(frames):
        draw()
    return frames / (time.perf_counter() - start)


def as_its_makers_draw(env_id: str, frames: int) -> float:
    """Frames per second of a robot with all that its makers draw of it."""
    if env_id.startswith(NAMESPACE):
        from dm_control import suite  # type: ignore[import-untyped]

        domain, _, task = env_id.removeprefix(NAMESPACE).removesuffix("-v0").partition("-")
        physics = suite.load(domain, task).physics
        return frames_per_second(lambda: physics.render(**SIZE, camera_id=0), frames)
    env = make_env(env_id, render_mode="rgb_array")
    env.reset(seed=0)
    try:
        return frames_per_second(env.unwrapped.render, frames)
    finally:
        env.close()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--mujoco", nargs="*", default=["HalfCheetah-v5", "Hopper-v5", f"{NAMESPACE}walker-walk-v0"]
    )
    parser.add_argument("--frames", type=int, default=60)
    arguments = parser.parse_args()
    renderer, segment = Renderer("CartPole-v1"), cartpole(50)
    with tempfile.TemporaryDirectory() as directory:
        measured = [clip_seconds(Path(directory), renderer, segment) for _ in range(10)]
    seconds = [one for one, _ in measured]
    print(
        f"CartPole, 50 steps: {statistics.median(seconds):.3f} s of one core "
        f"(highest {max(seconds):.3f}), {measured[0][1] / 1000:.0f} kB"
    )
    for env_id in arguments.mujoco:
        try:
            quick = Renderer(env_id)
        except UserError as error:
            print(f"{env_id}: not measured: {error}")
            continue
        rate = frames_per_second(quick._picture, arguments.frames)
        quick.close()
        full = as_its_makers_draw(env_id, arguments.frames)
        print(
            f"{env_id}: {full:.0f} frames/s as its makers draw it, {rate:.0f} as clips and videos "
            f"are drawn: {rate / full:.1f} times as fast"
        )


if __name__ == "__main__":
    main()
