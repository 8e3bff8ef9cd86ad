"""Comparisons as `prefloop show` sends them, made up."""

import functools
import hashlib
import math
import tempfile
import uuid
from pathlib import Path

import numpy as np

from prefloop.video_files import write_video

ID = str(uuid.UUID(int=7))
STEPS = 60  # of an episode: at 30 a second, 2 s


@functools.cache
def video(number, steps=STEPS):
    """An MP4, another one for each number: a square that goes round."""
    pictures = np.full((steps, 64, 96, 3), 200, dtype=np.uint8)
    for step, picture in enumerate(pictures):
        x = (step + 7 * number) % 80
        picture[20:36, x : x + 16] = (40 * number % 256, 90, 160)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_video(path, pictures, 30, clip=True)
        return path.read_bytes()


def digest(data):
    return hashlib.sha256(data).hexdigest()


def comparison(*names, policies=2, starts=2, steps=STEPS, learned=("taught",), **facts):
    """What a comparison says, and its videos by their digests."""
    names = names or ("taught", "true")
    videos, runs = {}, []
    for run, name in enumerate(names):
        shown = []
        for policy in range(policies):
            clips = []
            for start in range(starts):
                data = video((run * policies + policy) * starts + start, steps)
                videos[digest(data)] = data
                true = [-math.cos(0.1 * (step + start)) for step in range(steps)]
                reward = {"true": true}
                if name in learned:
                    reward |= {"learned": true, "lowest": [r - 1 for r in true], "highest": [r + 1 for r in true]}  # fmt: skip
                clips.append({"video": digest(data), "return": sum(true) - policy, "steps": steps, "steps_a_frame": 1, "terminated": False, "reward": reward})  # fmt: skip
            is_last = policy == policies - 1
            shown.append(
                {
                    "file": "final_policy.params"
                    if is_last
                    else f"policy_checkpoint{policy}.params",
                    "number": policy,
                    "steps": 1000 * (policy + 1),
                    "labels": 10 * (policy + 1) if name in learned else None,
                    "mean": -5.0 + policy,
                    "low": -6.0 + policy,
                    "high": -4.0 + policy,
                    "greedy": False,
                    "clips": clips,
                }
            )
        curve = [{"steps": 1000 * i, "labels": None, "return": -9.0 + i} for i in range(3)]
        runs.append({"name": name, "program": "prefloop ppo", "learned": name in learned, "curve": curve, "policies": shown})  # fmt: skip
    about = {"env": "Pendulum-v1 (horizon 60)", "episodes": 3, "seed": 0, "cut": steps, "fps": 30.0, "by": "ada", "runs": runs}  # fmt: skip
    return {**about, **facts}, videos


def send(api, about, videos, id=ID):
    """Has a server show a comparison."""
    place = f"/api/comparisons/{id}"
    missing = api.put(place, json=about).json()["missing"]
    for name in missing:
        assert api.put(f"{place}/clips/{name}", content=videos[name]).status_code == 204
    assert api.put(place, json=about).json() == {"missing": []}
    return id
