"""Runs that were never trained: what a run's folder holds, in no time."""

import contextlib
import io

import torch

from prefloop import checkpoints
from prefloop.cli import main
from prefloop.envs.make import make_env
from prefloop.envs.spaces import spaces_of
from prefloop.files import write_csv, write_json
from prefloop.policies import make_policy
from prefloop.rewards import reward_model
from prefloop.rewards.reward_model import RewardModel


def make_run(folder, env="Pendulum-v1", kept=(0, 2), rows=3, labels=False, reward=False, seed=0, **facts):  # fmt: skip
    """A folder with checkpoints `kept`, the last policy, and a metrics.csv of so many rows."""
    folder.mkdir(parents=True)
    spaces = spaces_of(make_env(env))
    names = [f"policy_checkpoint{number}.params" for number in kept] + ["final_policy.params"]
    with torch.random.fork_rng():
        for i, name in enumerate(names):
            torch.manual_seed(10 * seed + i)
            policy = make_policy(spaces, (8,))
            # the last layer is near zero at first: all would do the same
            for weights in policy.parameters():
                weights.data += 0.5 * torch.randn_like(weights)
            checkpoints.save(folder / name, policy.state_dict())
        said = policy.description()
        facts = {"program": "prefloop ppo", "env": env, "policy": said, "activation": said["activation"], **facts}  # fmt: skip
        if reward:
            model = RewardModel(spaces, (8,), 3)
            reward_model.save(folder, model)
            facts["reward_model"] = model.facts()
    write_json(folder / "run.json", facts)
    if rows:
        write_csv(
            folder / "metrics.csv",
            [
                {
                    "iteration": row,
                    "steps": 1000 * (row + 1),
                    "true_return": -1200.0 + 100 * row,
                    **({"labels": 10 * (row + 1)} if labels else {}),
                }
                for row in range(rows)
            ],
        )
    return folder


def show(*arguments):
    """Runs the command in this process, silently; a mistake raises."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        main(["show", *map(str, arguments)])
