"""Exploration that is kept once per environment, settings and seed, and gone on from."""

import io
import json
import os
import time

import numpy as np
import pytest
from conftest import assert_one_sentence
from small_pebble import SMALL


@pytest.fixture
def kept_here(tmp_path, monkeypatch):
    """What is explored is kept in the test's folder, and nowhere else."""
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("PREFLOOP_PROFILE", raising=False)


def files(folder):
    return {
        name: (folder / name).read_bytes()
        for name in ("metrics.csv", "final_policy.params", "reward.params", "replay/rewards.npy")
    }


def test_what_was_explored_is_explored_once(run, tmp_path, kept_here):
    line = SMALL.replace("--no-keep-exploration ", "")
    first = run(f"{line} first")
    assert first.code == 0, first.err
    (kept,) = (tmp_path / ".prefloop/default/explorations").iterdir()
    second = run(f"{line} second")
    assert f"Going on from the exploration that was kept in {kept}." in second.out
    assert files(tmp_path / "first") == files(tmp_path / "second")
    # other questions and another reward go on from it as well, another agent does not
    other = run(f"{line} third --labels 10 --reward-hidden-sizes 16 --steps 750")
    assert other.code == 0 and "Going on from" in other.out
    # of runs that were killed while they kept one, and of one that may be about to
    old, new = (kept.parent / f".unfinished-{name}" for name in ("old", "new"))
    old.mkdir(), new.mkdir()
    os.utime(old, (time.time() - 7200,) * 2)
    assert "Going on from" not in run(f"{line} fourth --gamma 0.9").out
    assert len(list(kept.parent.iterdir())) == 3 and not old.exists() and new.exists()
    # and neither does a run that is told not to
    assert "Going on from" not in run(f"{SMALL} fifth").out
    assert files(tmp_path / "fifth") == files(tmp_path / "first")


def test_a_kept_exploration_that_can_not_be_used(run, tmp_path, kept_here):
    line = SMALL.replace("--no-keep-exploration ", "")
    assert run(f"{line} first").code == 0
    (kept,) = (tmp_path / ".prefloop/default/explorations").iterdir()
    assert run(f"{SMALL} named --explore-from {kept}").code == 0
    assert files(tmp_path / "named") == files(tmp_path / "first")
    outcome = run(f"{SMALL} p --explore-from {kept} --gamma 0.9")
    assert_one_sentence(outcome, "can't be explored from: it was made with agent")
    outcome = run(f"{SMALL} q --explore-from nowhere")
    assert_one_sentence(outcome, "nowhere can't be explored from")
    steps = (kept / "replay.npz").read_bytes()
    (kept / "replay.npz").write_bytes(steps[: len(steps) // 2])
    assert_one_sentence(run(f"{SMALL} r --explore-from {kept}"), "replay.npz is damaged")
    outcome = run(f"{line} again")
    assert outcome.code == 0, outcome.err
    assert "can't be used" in outcome.out and "Exploring anew" in outcome.out
    assert files(tmp_path / "again") == files(tmp_path / "first")
    # a single bit of the networks: nothing that is read would notice
    state = bytearray((kept / "state.pt").read_bytes())
    state[len(state) // 2] ^= 1
    (kept / "state.pt").write_bytes(state)
    outcome = run(f"{line} bit")
    assert "can't be used: state.pt is damaged. Exploring anew." in outcome.out
    assert files(tmp_path / "bit") == files(tmp_path / "first")
    (kept / "state.pt").unlink()
    assert "Exploring anew." in run(f"{line} gone").out
    facts = json.loads((kept / "facts.json").read_text())
    for name, wrong in (("digests", []), ("none", None)):
        (kept / "facts.json").write_text(json.dumps({**facts, "sha256": wrong}))
        outcome = run(f"{line} {name}")
        assert "can't be used: facts.json is damaged. Exploring anew." in outcome.out


def test_a_smaller_replay_explores_otherwise(run, tmp_path, kept_here):
    line = SMALL.replace("--no-keep-exploration ", "")
    assert run(f"{line} large").code == 0
    assert "Going on from" in run(f"{line} enough --capacity 100000").out
    assert "Going on from" not in run(f"{line} small --capacity 100").out
    assert run(f"{SMALL} alone --capacity 100").code == 0
    assert files(tmp_path / "small") == files(tmp_path / "alone")


def test_what_was_refused_is_explored_anew_from_nothing_and_kept_again(run, tmp_path, kept_here):
    line, home = (
        SMALL.replace("--no-keep-exploration ", ""),
        tmp_path / ".prefloop/default/explorations",
    )
    assert run(f"{line} p").code == 0
    (kept,) = home.iterdir()
    assert run(f"{line} other --seed 1").code == 0
    (other,) = set(home.iterdir()) - {kept}
    whole = (kept / "replay.npz").read_bytes()
    (kept / "replay.npz").write_bytes((other / "replay.npz").read_bytes())
    outcome = run(f"{line} q")
    assert outcome.code == 0 and "Exploring anew." in outcome.out, outcome
    for name in ("final_policy.params", "reward.params", "metrics.csv"):
        assert (tmp_path / "p" / name).read_bytes() == (tmp_path / "q" / name).read_bytes()
    with np.load(io.BytesIO(whole)) as before, np.load(kept / "replay.npz") as now:
        for name in before.files:
            np.testing.assert_array_equal(before[name], now[name])
    assert f"Going on from the exploration that was kept in {kept}." in run(f"{line} r").out
