"""What is shown of runs side by side: every policy plays from the same starts, and the first are filmed."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefloop import policy_files, run_files
from prefloop.envs.make import make_env, make_vector_env
from prefloop.envs.registered import return_bounds
from prefloop.envs.settings import EnvSettings
from prefloop.errors import UserError
from prefloop.evaluation.evaluate import acting_in_episode, env_seed, play
from prefloop.evaluation.statistics import mean_estimate
from prefloop.evaluation.videos import (
    DrawnEpisode,
    draw_episode,
    frames_per_second,
    steps_a_picture,
)
from prefloop.rewards import reward_model
from prefloop.rewards.reward_model import RewardModel
from prefloop.showing.kept_policies import KeptPolicy, Run

CLIPS = "clips"  # folder of the videos
MAX_SIDE = 480  # pixels; up to six stand beside each other


@dataclass(frozen=True)
class Starts:
    """From where, and how often.

    Attributes:
        episodes: that are counted of each policy.
        clips: how many of them, from the first on, are filmed.
        seed: same seed, same starts.
        greedy: take the most probable action, or the mean one, of all policies.
    """

    episodes: int
    clips: int
    seed: int
    greedy: bool


@dataclass(frozen=True)
class Loaded:
    """A run whose files are all read.

    Attributes:
        policies: beside `run.policies`.
        reward: what it has learned to reward, if it has.
    """

    run: Run
    policies: Sequence[Any]
    reward: RewardModel | None


def load(run: Run, env: EnvSettings) -> Loaded:
    """Reads all that is to be shown of a run, so that what is damaged is said before anything is drawn.

    Raises:
        UserError: as `policy_files.load` and `reward_model.load`.
    """
    envs, made = make_vector_env(env, 1), make_env(env)
    try:
        policies = [policy_files.load(kept.path, envs) for kept in run.policies]
        file = run.folder / run_files.REWARD
        # a reward.params of the course stands beside no policy that it belongs to
        learned = file.is_file() and "reward_model" in run.facts
        return Loaded(run, policies, reward_model.load(file, made) if learned else None)
    finally:
        envs.close()
        made.close()


def gather(
    runs: Sequence[Loaded],
    env: EnvSettings,
    starts: Starts,
    folder: Path,
    tell: Callable[[int], None],
    cut: int | None = None,
) -> dict[str, Any]:
    """Plays, films, and says what the page is to show.

    Args:
        env: cut after `cut` steps already, if that is given.
        folder: that the videos are written to.
        tell: is told how many episodes have just ended.

    Returns:
        What show.json holds, arrays among it: `docs/show.md`.

    Raises:
        UserError: a video can't be written, or a reward is no finite number.
    """
    return {
        "env": env.described,
        "episodes": starts.episodes,
        "seed": starts.seed,
        "cut": cut,
        "fps": frames_per_second(env),
        "runs": [
            {
                "name": loaded.run.name,
                "program": str(loaded.run.facts.get("program", "")),
                "learned": loaded.reward is not None,
                "curve": [
                    {"steps": point.steps, "labels": point.labels, "return": point.true_return}
                    for point in loaded.run.curve
                ],
                "policies": [
                    _shown(loaded, i, env, starts, folder, f"{number}-{i}", tell)
                    for i in range(len(loaded.policies))
                ],
            }
            for number, loaded in enumerate(runs)
        ],
    }


def _shown(
    loaded: Loaded,
    i: int,
    env: EnvSettings,
    starts: Starts,
    folder: Path,
    stem: str,
    tell: Callable[[int], None],
) -> dict[str, Any]:
    """One policy: its returns and its clips."""
    kept, policy = loaded.run.policies[i], loaded.policies[i]
    # SAC's policies draw actions to learn, and are judged by their mean
    greedy = starts.greedy or policy.evaluates_greedily
    returns = play(policy, env, starts.episodes, starts.seed, greedy, tell).returns
    _require_finite(loaded, kept, {"true": returns})
    clips, every = [], steps_a_picture(env)
    for episode in range(starts.clips):
        video = f"{CLIPS}/{stem}-{episode}.mp4"
        act = acting_in_episode(policy, starts.seed, episode, greedy)
        seed = env_seed(starts.seed, episode)
        drawn = draw_episode(env, act, seed, folder / video, MAX_SIDE, clip=True, every=every)
        clip = _clip(video, drawn, loaded.reward)
        _require_finite(loaded, kept, clip["reward"])
        clips.append({**clip, "steps_a_frame": every})
        tell(1)
    return {**_described(kept, returns, env), "greedy": greedy, "clips": clips}


def _require_finite(loaded: Loaded, kept: KeptPolicy, rewards: Mapping[str, NDArray]) -> None:
    """Refuses what no browser reads, and what has no mean."""
    for name, values in rewards.items():
        if not np.isfinite(values).all():
            kind = "true" if name == "true" else "learned"
            raise UserError(
                f"{loaded.run.name}, {kept.path.name}: the {kind} reward is NaN or infinite in an episode, which can't "
                "be shown."
            )


def _described(kept: KeptPolicy, returns: NDArray, env: EnvSettings) -> dict[str, Any]:
    estimate = mean_estimate(returns, return_bounds(env))
    return {
        "file": kept.path.name,
        "number": kept.number,
        "steps": kept.at.steps,
        "labels": kept.at.labels,
        "mean": estimate.mean,
        "low": None if math.isnan(estimate.low) else estimate.low,
        "high": None if math.isnan(estimate.high) else estimate.high,
    }


def _clip(video: str, drawn: DrawnEpisode, reward: RewardModel | None) -> dict[str, Any]:
    learned = {} if reward is None else reward.step_by_step(drawn.obs, drawn.actions)
    return {
        "video": video,
        "return": float(drawn.rewards.sum()),
        "steps": len(drawn.rewards),
        "terminated": drawn.terminated,
        "reward": {"true": drawn.rewards, **learned},
    }
