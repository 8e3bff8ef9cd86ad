"""A run of `prefloop pebble` that takes a second; the folder comes next. And what is true of some runs."""

import numpy as np

from prefloop.files import read_json

SMALL = (
    "prefloop.cli pebble --env Pendulum-v1 --steps 1000 --iteration-steps 250 --updates-per-step 0.2 --exploration-steps 500 "
    "--random-steps 100 --exploration-states 64 --labels 20 --segment-length 20 --hidden-sizes 8 "
    "--batch-size 16 --reward-hidden-sizes 8 --reward-epochs 3 --evaluation-episodes 2 "
    "--no-keep-exploration --out"
)


def assert_absorbed(folder):
    """A run on Hopper learned in episodes that stay where they end, and is judged in others."""
    facts = read_json(folder / "run.json")
    assert facts["env"] == "Hopper-v5" and "env_changes" not in facts
    changes = {"termination": "absorb", "absorbing_steps": 50}
    assert facts["learned_in"] == {"env": "Hopper-v5", "env_changes": changes}
    assert not np.load(folder / "replay/terminated.npy").any()
    obs = np.load(folder / "replay/obs.npy")[:200, 0]
    assert (np.diff(obs, axis=0) == 0).all(axis=1).sum() >= 49
