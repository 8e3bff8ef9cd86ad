"""From policies to preferences: act, cut segments, choose pairs, ask."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np

from prefloop import policies
from prefloop.checkpoints import versions
from prefloop.data import dataset
from prefloop.data.preferences import Preferences
from prefloop.data.rollouts import Record, collect_episodes
from prefloop.data.segments import Segments, concatenate, cut, whole_episodes
from prefloop.data.trajectories import Trajectories
from prefloop.errors import UserError
from prefloop.policies import FunctionPolicy, Policy
from prefloop.queries.selection import Predict, select_queries
from prefloop.query_strategies import STRATEGIES
from prefloop.runs import difference
from prefloop.seeding import Stream, generator, integer
from prefloop.teachers.simulated import SimulatedTeacher, preset

# between two commands that fill one dataset; files are compared by what is in them
MAY_DIFFER = {"pairs", "resume", "out", "device", "policies", "reward", "minari"}


def act(
    envs: gym.vector.VectorEnv,
    acting_policies: Sequence[Policy | FunctionPolicy],
    episodes: int,
    seed: int,
    record: Record | None = None,
) -> list[Trajectories]:
    """Plays whole episodes with each policy.

    Args:
        record: gives what shows them again, if they are to be shown (`RecordedEnvs.record`).

    Raises:
        UserError: the environment gave NaN or infinite observations or rewards.
    """
    seed = integer(seed, Stream.DEMONSTRATIONS)
    collected = []
    for i, policy in enumerate(acting_policies):
        draw = policies.acting(policy, generator(seed, Stream.POLICY, i))
        stream = (Stream.ENVIRONMENTS, i)
        collected.append(collect_episodes(envs, draw, episodes, seed, stream, record))
    return collected


def as_segments(
    trajectories: Sequence[Trajectories], length: int | None, num_segments: int, seed: int
) -> Segments:
    """Segments of every policy's episodes.

    Args:
        length: steps of a segment; None for whole episodes. A policy none of whose episodes is that long is
            shown in shorter ones.
        num_segments: how many are cut from each policy's episodes, if they are cut.

    Raises:
        UserError: no policy's episode is as long as a segment, or there are NaN among the numbers.
    """
    rng = generator(seed, Stream.SEGMENTS)
    longest = [int(episodes.lengths.max()) for episodes in trajectories]
    if length is not None and length > max(longest):
        raise UserError(
            f"Can't cut segments of {length} steps from episodes of at most {max(longest)}."
        )
    parts = [
        whole_episodes(episodes, i)
        if length is None
        else cut(episodes, min(length, longest[i]), num_segments, rng, i)
        for i, episodes in enumerate(trajectories)
    ]
    segments = concatenate(parts)
    for name in ("obs", "actions", "rewards"):
        if not np.isfinite(getattr(segments, name)).all():
            raise UserError(f"The episodes have {name} that are NaN or infinite.")
    return segments


def make_teacher(
    name: str, segments: Segments | None, seed: int, overrides: Mapping[str, float]
) -> SimulatedTeacher:
    """A teacher of B-Pref's, with some of its knobs set by hand.

    Args:
        segments: a first pool, by whose returns `skip` and `equal` set their thresholds.

    Raises:
        UserError: an override no teacher can have.
    """
    try:
        return dataclasses.replace(
            preset(name, segments.returns if segments is not None else None, seed),
            **overrides,  # type: ignore[arg-type]
        )
    except ValueError as error:
        raise UserError(f"{str(error).capitalize()}.") from None


def ask_for_pairs(
    directory: Path,
    segments: Segments,
    num_pairs: int,
    teacher: SimulatedTeacher,
    facts: Mapping[str, Any],
    seed: int,
    resume: bool = False,
    selection: str = "uniform",
    num_candidates: int | None = None,
    predict: Predict | None = None,
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> Preferences:
    """Fills a dataset with the teacher's answers until it holds `num_pairs` queries.

    Args:
        facts: what metadata.json is to say, `env` among them.
        resume: go on with what is there; the pairs are chosen by the seed, so that those that were
            asked before are known.
        defaults: what a setting was before there was one.

    Raises:
        UserError: the dataset exists and is not to be gone on with, was begun differently, holds
            more already, or can't be written; there are fewer pairs than wanted.
    """
    if dataset.exists(directory) and not resume:
        raise UserError(
            f"{directory} holds a preference dataset already; add to it by --resume, or choose "
            "another --out."
        )
    if resume and not dataset.exists(directory):
        raise UserError(f"There is no preference dataset to go on with in {directory}.")
    queries = select_queries(
        selection, segments, num_pairs, generator(seed, Stream.QUERIES), num_candidates, predict
    )
    described = {**facts, "teacher": teacher.facts(), "versions": versions()}
    with dataset.writing(directory, described) as writer:
        begun_with = dataset.read_metadata(directory).get("settings", {})
        # pairs that were collected or judged in different ways are not to be mixed
        other = difference(begun_with, described.get("settings", begun_with), MAY_DIFFER, defaults)
        if other is not None:
            raise UserError(
                f"{directory} was begun with {other}; go on with the settings in its metadata.json, "
                "or choose another --out."
            )
        asked = len(writer)
        if asked > num_pairs:
            raise UserError(f"{directory} holds {asked} queries already, more than {num_pairs}.")
        if 0 < asked < num_pairs and STRATEGIES[selection].choose is not None:
            raise UserError(
                f"{directory} holds {asked} queries; only uniform ones can be added to, since others "
                "depend on how many are chosen together."
            )
        labels = teacher.label(queries)
        new = Preferences(segments, queries.first, queries.second, labels)
        if asked < num_pairs:
            writer.append(new[slice(asked, None)])
        assert writer.preferences is not None
        return writer.preferences
