"""Clips of what people answered, in a report."""

from dataclasses import replace

import av
import numpy as np
import pytest
from made_up import make_segments
from test_rendering import needs_mujoco

from prefloop.commands.report_clips import ReportClips
from prefloop.data import dataset
from prefloop.data.preferences import Preferences
from prefloop.data.segments import STATES
from prefloop.envs.make import make_env
from prefloop.envs.settings import EnvSettings
from prefloop.evaluation.judgement import AnswerFacts


def kept(folder, parts):
    """A dataset of segments, kept in this order, of which each is compared with the one after."""
    with dataset.writing(folder, {"program": "prefloop label"}) as writer:
        for part in parts:
            writer.store(part)
        for part in parts:
            some = np.arange(len(part) - 1)
            labels = np.array([1.0, 0.5, np.nan])[some % 3]
            writer.append(Preferences(part, some, some + 1, labels), annotator="ada")
    return dataset.read(folder).answered


def frames_of(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return sum(1 for _ in container.decode(stream)), float(stream.average_rate), stream.width


def test_pairs_are_drawn_from_observations(tmp_path, capsys):
    rng = np.random.default_rng(0)
    obs = 0.1 * rng.normal(size=(5, 12, 4))
    segments = make_segments(obs, rng.integers(2, size=(5, 12)), np.array([12, 7, 12, 12, 12]))
    answered = kept(tmp_path / "p", [segments])
    draw = ReportClips(tmp_path / "p", answered, EnvSettings(env="CartPole-v1"), tmp_path)
    clips, why = draw([1, 0])
    assert why == "" and sorted(clips) == [0, 1]
    # as long as the longer of both, and for a second at least
    assert frames_of(clips[0])[:2] == (12, 12.0)
    assert "Drawing 2 pairs for the report, 60 s at most." in capsys.readouterr().err
    late = ReportClips(tmp_path / "p", answered, EnvSettings(env="CartPole-v1"), tmp_path, -1)
    assert late([0]) == ({}, "They have no clip: drawing them took more than -1 s.")


@needs_mujoco
def test_a_robot_is_drawn_where_its_states_were_kept(tmp_path):
    env = make_env("Hopper-v5")
    obs, _ = env.reset(seed=0)
    base, rng = env.unwrapped, np.random.default_rng(0)
    states, seen, actions = [], [], []
    for _ in range(15):
        states.append(np.concatenate([base.data.qpos, base.data.qvel]))
        seen.append(obs)
        actions.append(env.action_space.sample())
        obs, *_ = env.step(actions[-1])
    shape = (3, 5)
    segments = make_segments(np.reshape(seen, (*shape, -1)), np.reshape(actions, (*shape, -1)))
    shown = replace(segments, replay={STATES: np.reshape(states, (*shape, -1))})
    others = make_segments(rng.normal(size=(2, 5, 11)), rng.normal(size=(2, 5, 3)))
    answered = kept(tmp_path / "p", [others, shown])
    draw = ReportClips(tmp_path / "p", answered, EnvSettings(env="Hopper-v5"), tmp_path)
    reason = "Hopper-v5 can't be drawn: the simulator's states were not recorded with the segment."
    clips, why = draw([0, 1, 2])
    assert sorted(clips) == [1, 2] and why == f"1 of them has no clip: {reason}"
    assert frames_of(clips[1])[0] == 5
    assert draw([0]) == ({}, f"They have no clip: {reason}")


def test_what_has_no_pictures_is_told(tmp_path):
    segments = make_segments(np.arange(24).reshape(2, 4, 3), np.zeros((2, 4)))
    answered = kept(tmp_path / "p", [segments])
    clips, why = ReportClips(tmp_path / "p", answered, EnvSettings(env="Nowhere-v0"), tmp_path)([0])
    assert clips == {} and why.startswith("They have no clip: ") and "Nowhere-v0" in why


@pytest.mark.parametrize(
    ("facts", "expected"),
    [([{"teacher": "oracle"}, {}], False), ([{}, {"annotator": "ada"}], True), ([{"teacher": "human"}], True)],
)  # fmt: skip
def test_people_are_told_from_programs(facts, expected):
    assert AnswerFacts(facts=facts).of_people is expected
