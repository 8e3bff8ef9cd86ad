import errno
import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from conftest import ROOT

from prefloop.data.replay_buffer import STATES, TRUE_REWARDS, NothingToDrawError, ReplayBuffer
from prefloop.envs.spaces import Spaces
from prefloop.errors import UserError

VECTORS = Spaces((3,), "float32", False, 2, (-1.0, -1.0), (1.0, 1.0))
PICTURES = Spaces((4, 4), "uint8", True, 3)


def fill(buffer, steps, start=0, episode=7):
    """Observations count the steps; every seventh ends an episode, and the next one resets."""
    n, spaces = buffer.num_envs, buffer.spaces
    for t in range(start, start + steps):
        resets = np.full(n, t % episode == 0 and t > 0)
        ends = np.full(n, t % episode == episode - 1)
        buffer.add(
            np.full((n, *spaces.obs_shape), t % 256, spaces.obs_dtype),
            np.full((n, *spaces.action_shape), t % 3, spaces.action_dtype),
            np.full(n, t, np.float32), ends, np.zeros(n, bool), resets,
        )  # fmt: skip


@pytest.mark.parametrize("spaces", [VECTORS, PICTURES])
@pytest.mark.parametrize("steps", [9, 40])
def test_what_is_drawn_was_added_and_led_where_it_led(tmp_path, spaces, steps):
    buffer = ReplayBuffer(tmp_path, spaces, num_envs=2, capacity=40)
    fill(buffer, steps)
    drawn = buffer.sample(500, np.random.default_rng(0))
    t = drawn.rewards.astype(int)
    assert set(t) <= set(range(max(0, steps - 20), steps - 1))  # 20 rows, the newest left out
    assert not ((t % 7 == 0) & (t > 0)).any()
    assert drawn.obs.dtype == spaces.obs_dtype
    assert (drawn.obs.reshape(500, -1)[:, 0] == t).all()
    assert (drawn.next_obs.reshape(500, -1)[:, 0] == t + 1).all()
    assert (drawn.actions.reshape(500, -1)[:, 0] == t % 3).all()
    np.testing.assert_array_equal(drawn.terminated, t % 7 == 6)


def test_a_step_takes_a_third_of_the_bytes_that_others_keep_of_it(tmp_path):
    cheetah = Spaces((17,), "float32", False, 6, (-1.0,) * 6, (1.0,) * 6)
    ReplayBuffer(tmp_path, cheetah, 1, 1000, extras={TRUE_REWARDS: ("float32", ())})
    header = 128  # of NumPy's files
    ours = sum(file.stat().st_size - header for file in tmp_path.glob("*.npy"))
    # Stable-Baselines3 2.9: both observations as the environment gives them, in doubles; reward, end
    # and time limit as single floats
    theirs = 1000 * (2 * 8 * 17 + 4 * 6 + 3 * 4)
    assert ours == 1000 * (4 * 17 + 4 * 6 + 2 * 4 + 4)
    assert ours < 0.6 * theirs


def test_the_mean_reward_of_each_iteration(tmp_path):
    """Of steps that count; an episode's reset and what was dropped do not."""
    buffer = ReplayBuffer(tmp_path, VECTORS, num_envs=1, capacity=40, between_states=20)
    fill(buffer, 40)  # rewards count the steps; steps 7, 14, 21 … only reset
    np.testing.assert_allclose(
        buffer.mean_rewards([10] * 3),
        [np.mean([t for t in range(a, a + 10) if t % 7]) for a in (10, 20, 30)],
    )
    np.testing.assert_allclose(
        buffer.mean_rewards([10, 5]),
        [np.mean([t for t in range(25, 35) if t % 7]), np.mean([36, 37, 38, 39])],
    )
    buffer.drop_episodes(np.array([True]))  # the one under way, from step 36 on
    np.testing.assert_allclose(
        buffer.mean_rewards([10] * 6),
        [np.nan, np.nan, *(np.mean([t for t in range(a, a + 10) if t == 0 or t % 7]) for a in (0, 10, 20)),
         np.mean([30, 31, 32, 33, 34])],
    )  # fmt: skip


def test_every_step_is_as_likely(tmp_path):
    buffer = ReplayBuffer(tmp_path, VECTORS, num_envs=1, capacity=11)
    fill(buffer, 25, episode=100)
    t = buffer.sample(20_000, np.random.default_rng(0)).rewards.astype(int)
    counts = np.bincount(t)[14:24]
    np.testing.assert_allclose(counts / 20_000, np.full(10, 0.1), atol=0.01)


def test_rewards_are_given_anew(tmp_path):
    buffer = ReplayBuffer(tmp_path, VECTORS, num_envs=3, capacity=60)
    fill(buffer, 30, episode=100)
    seen = []

    def reward(obs, actions, next_obs):
        seen.append(len(obs))
        return 100 * obs[..., 0] + next_obs[..., 0]

    buffer.relabel(reward, chunk=8)
    assert seen == [8, 8, 4]
    drawn = buffer.sample(100, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn.rewards, 100 * drawn.obs[:, 0] + drawn.next_obs[:, 0])


def test_it_is_there_when_it_is_opened_again(tmp_path):
    first = ReplayBuffer(tmp_path, VECTORS, 2, 40)
    fill(first, 15)
    state = first.state_dict()
    again = ReplayBuffer(tmp_path, VECTORS, 2, 40)
    again.load_state_dict(state)
    for buffer in (first, again):
        fill(buffer, 30, start=15)
    drawn = [buffer.sample(50, np.random.default_rng(1)) for buffer in (first, again)]
    for name in ("obs", "actions", "rewards", "next_obs", "terminated"):
        np.testing.assert_array_equal(*(getattr(x, name) for x in drawn))
    assert first.state_dict() == again.state_dict()


@pytest.mark.parametrize("before", [12, 90])  # while there is room, and when the oldest go
def test_what_was_done_after_the_state_is_done_again(tmp_path, before):
    """A kill -9 in between leaves rows that nobody counts; they are written over in order."""
    code = f"""
        import os, signal, sys, json
        sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests" / "data")!r}, {str(ROOT / "tests")!r}]
        from pathlib import Path
        from test_replay_buffer import ReplayBuffer, VECTORS, fill
        buffer = ReplayBuffer(Path("killed"), VECTORS, 2, 40, between_states=10)
        fill(buffer, {before})
        Path("state.json").write_text(json.dumps(buffer.state_dict()))
        fill(buffer, 5, start={before})
        os.kill(os.getpid(), signal.SIGKILL)
    """
    if not hasattr(signal, "SIGKILL"):
        pytest.skip("there is no SIGKILL here")
    outcome = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path)
    assert outcome.returncode == -signal.SIGKILL
    killed = ReplayBuffer(tmp_path / "killed", VECTORS, 2, 40, between_states=10)
    killed.load_state_dict(json.loads((tmp_path / "state.json").read_text()))
    unbroken = ReplayBuffer(tmp_path / "unbroken", VECTORS, 2, 40, between_states=10)
    fill(unbroken, before)
    for steps in range(6):  # also on the way, where the rows are those that the killed run left
        for buffer in (killed, unbroken):
            fill(buffer, min(steps, 1), start=before + steps - 1)
        drawn = [buffer.sample(64, np.random.default_rng(0)) for buffer in (killed, unbroken)]
        np.testing.assert_array_equal(drawn[0].obs, drawn[1].obs)
    assert killed.state_dict() == unbroken.state_dict()
    drawn = [buffer.sample(64, np.random.default_rng(0)) for buffer in (killed, unbroken)]
    np.testing.assert_array_equal(drawn[0].obs, drawn[1].obs)


def test_files_of_another_run(tmp_path):
    buffer = ReplayBuffer(tmp_path, VECTORS, 2, 40)
    fill(buffer, 10)
    state = buffer.state_dict()
    with pytest.raises(UserError, match="it is of another run"):
        ReplayBuffer(tmp_path, VECTORS, 4, 40)
    with pytest.raises(UserError, match="it is of another run"):
        ReplayBuffer(tmp_path, PICTURES, 2, 40)
    buffer._columns["obs"][3] = 99
    other = ReplayBuffer(tmp_path, VECTORS, 2, 40)
    with pytest.raises(UserError, match="does not hold what this run has done"):
        other.load_state_dict(state)
    (tmp_path / "ends.npy").write_bytes(b"hello")
    with pytest.raises(UserError, match=r"ends\.npy is damaged"):
        ReplayBuffer(tmp_path, VECTORS, 2, 40)


def test_nothing_to_draw(tmp_path):
    buffer = ReplayBuffer(tmp_path, VECTORS, 2, 40)
    for _ in range(2):
        with pytest.raises(ValueError, match="once there is one after it"):
            buffer.sample(4, np.random.default_rng(0))
        fill(buffer, 1)
    assert len(buffer) == 4


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_can_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Can't use"):
        ReplayBuffer(tmp_path / "replay", VECTORS, 2, 40)


@pytest.mark.parametrize("capacity", [200, 40])
def test_episodes_are_those_that_were_acted(tmp_path, capacity):
    extras = {TRUE_REWARDS: ("float32", ()), STATES: ("float64", (2,))}
    buffer = ReplayBuffer(tmp_path, VECTORS, 2, capacity, extras=extras)
    no = np.zeros(2, bool)
    acted = [[], []]  # of each environment, episodes as lists of times
    left, was_reset = [4, 7], [False, False]
    for t in range(60):
        resets = np.array(was_reset)
        ends = np.array([n == 1 for n in left]) & ~resets
        for env in range(2):
            if resets[env] or t == 0:
                acted[env].append([])
                left[env] = 3 + (t + env) % 5
            if not resets[env]:
                acted[env][-1].append(t)
                left[env] -= 1
        ends = np.array([not resets[env] and left[env] == 0 for env in range(2)])
        buffer.add(
            np.full((2, 3), t, np.float32), np.full((2, 2), t, np.float32), np.zeros(2), ends, no,
            resets, true_rewards=np.full(2, -t), states=np.full((2, 2), t / 2),
        )  # fmt: skip
        was_reset = ends.tolist()
    # in the order in which they began; what was begun before the oldest row is not whole
    oldest = 60 - min(60, capacity // 2)
    whole = [e for of_env in acted for e in of_env if e and (e[0] > oldest or oldest == e[0] == 0)]
    whole = [[t for t in e if t < 59] for e in whole]  # what the newest led to is not known
    whole = sorted((e for e in whole if e), key=lambda e: e[0])
    found = buffer.trajectories()
    split = np.split(found.obs[:, 0].astype(int), np.cumsum(found.lengths)[:-1])
    assert sorted(e.tolist() for e in split) == sorted(whole)
    assert [e[0] for e in split] == sorted(e[0] for e in split)
    steps = np.concatenate(split)
    np.testing.assert_array_equal(found.next_obs[:, 0], steps + 1)
    np.testing.assert_array_equal(found.rewards, -steps)
    np.testing.assert_array_equal(found.states[:, 1], steps / 2)
    lasts = np.array([e[-1] for e in split])
    np.testing.assert_array_equal(found.terminated, lasts < 58)
    few = buffer.trajectories(newest=3)
    np.testing.assert_array_equal(few.lengths, found.lengths[-3:])


def test_there_are_no_episodes_in_nothing(tmp_path):
    with pytest.raises(ValueError, match="no episode"):
        ReplayBuffer(tmp_path, VECTORS, 1, 10).trajectories()


def test_it_is_said_why_no_episode_is_whole(tmp_path):
    buffer = ReplayBuffer(tmp_path, VECTORS, num_envs=2, capacity=20)
    fill(buffer, 50, episode=70)
    with pytest.raises(UserError, match=r"the last 20 steps are \(--capacity\)"):
        buffer.trajectories()
    buffer.drop_episodes(np.ones(2, bool))
    with pytest.raises(UserError, match="The simulator could go on in no episode"):
        buffer.trajectories()


def test_the_newest_steps_are_a_rollout(tmp_path):
    buffer = ReplayBuffer(tmp_path, VECTORS, num_envs=2, capacity=20, between_states=30)
    fill(buffer, 40)
    rollout = buffer.newest(15)
    t = np.arange(24, 39)
    np.testing.assert_array_equal(rollout.obs[:, 1, 0], np.arange(24, 40))
    np.testing.assert_array_equal(rollout.next_obs[:, 0, 2], t + 1)
    np.testing.assert_array_equal(rollout.rewards[:, 1], t)
    np.testing.assert_array_equal(rollout.valid[:, 0], t % 7 != 0)
    np.testing.assert_array_equal(rollout.terminated[:, 0], t % 7 == 6)
    assert not rollout.truncated.any()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="disks can't be asked for room here")
def test_a_full_disk_is_told_before_anything_is_done(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match=r"obs\.npy: No space left on device"):
        ReplayBuffer(tmp_path, VECTORS, 1, 1000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="files have holes here")
def test_what_will_be_written_has_its_place_on_the_disk(tmp_path):
    ReplayBuffer(tmp_path, VECTORS, 1, 100_000)
    taken = (tmp_path / "obs.npy").stat().st_blocks * 512
    assert taken >= 100_000 * 3 * 4


def test_an_episode_that_is_dropped_is_never_seen_again(tmp_path):
    buffer = ReplayBuffer(tmp_path, VECTORS, num_envs=2, capacity=80)
    fill(buffer, 12)  # the second episode's steps are 8 to 11; 7 resets
    buffer.drop_episodes(np.array([True, False]))
    fill(buffer, 12, start=12)
    steps = buffer._columns["rewards"][:, 0]
    buffer._columns["actions"][:, 0, 0] = 9  # to tell the first environment from the second
    drawn = buffer.sample(2000, np.random.default_rng(0))
    first = drawn.rewards[drawn.actions[:, 0] == 9].astype(int)
    assert set(first) == {*range(7), 12, 13, *range(15, 21), 22}
    assert set(drawn.rewards[drawn.actions[:, 0] != 9].astype(int)) >= set(range(8, 12))
    assert len(steps) >= 24
    assert not buffer.newest(14).valid[:2, 0].any()


def test_what_was_dropped_stays_so_and_the_digest_holds(tmp_path):
    buffer = ReplayBuffer(tmp_path, VECTORS, num_envs=1, capacity=80)
    fill(buffer, 12)
    buffer.drop_episodes(np.array([True]))
    again = ReplayBuffer(tmp_path, VECTORS, num_envs=1, capacity=80)
    again.load_state_dict(buffer.state_dict())
    assert max(again.sample(500, np.random.default_rng(0)).rewards) == 6
    assert again.trajectories().lengths.tolist() == [7]


def test_there_may_be_nothing_left_to_draw(tmp_path):
    buffer = ReplayBuffer(tmp_path, VECTORS, num_envs=1, capacity=80)
    fill(buffer, 5)
    buffer.drop_episodes(np.array([True]))
    with pytest.raises(NothingToDrawError, match="left out"):
        buffer.sample(3, np.random.default_rng(0))


def test_a_state_that_is_refused_leaves_the_buffer_as_it_was(tmp_path):
    buffer = ReplayBuffer(tmp_path, VECTORS, num_envs=1, capacity=80)
    fill(buffer, 12)
    state = buffer.state_dict()
    again = ReplayBuffer(tmp_path, VECTORS, num_envs=1, capacity=80)
    first, *others = state["digests"]
    for wrong in (
        {"digests": [[*first[:2], "zz"], *others]},
        {"digests": [[0, 10**9, "00"]]},
        {"added": 11},
    ):
        with pytest.raises(UserError, match="does not hold"):
            again.load_state_dict({**state, **wrong})
        assert again.size == 0
    again.load_state_dict(state)
    assert again.size == 12


def test_a_column_that_was_lost_is_named_each_time(tmp_path):
    buffer = ReplayBuffer(tmp_path, VECTORS, num_envs=1, capacity=80)
    fill(buffer, 12)
    (tmp_path / "rewards.npy").unlink()
    for _ in range(2):
        again = ReplayBuffer(tmp_path, VECTORS, num_envs=1, capacity=80)
        with pytest.raises(UserError, match=r"has lost rewards\.npy"):
            again.load_state_dict(buffer.state_dict())


@pytest.mark.parametrize("added", [30, 75, 203])  # while there is room, and when the oldest go
def test_a_row_that_is_not_what_was_done_is_found(tmp_path, added):
    buffer = ReplayBuffer(tmp_path, VECTORS, num_envs=1, capacity=40, between_states=20)
    for start in range(0, added, 19):
        fill(buffer, min(19, added - start), start=start)
        state = buffer.state_dict()
    again = ReplayBuffer(tmp_path, VECTORS, num_envs=1, capacity=40, between_states=20)
    again.load_state_dict(state)
    assert again.state_dict() == state
    for row in range(max(10, added - 30), added):
        actions = again._columns["actions"][row % 60, 0]
        actions += 1
        other = ReplayBuffer(tmp_path, VECTORS, num_envs=1, capacity=40, between_states=20)
        with pytest.raises(UserError, match="does not hold what this run has done"):
            other.load_state_dict(state)
        actions -= 1
    # and what a killed run added after its state is none of its business
    fill(again, 20, start=added)
    ReplayBuffer(tmp_path, VECTORS, 1, 40, between_states=20).load_state_dict(state)


@pytest.mark.parametrize("added", [30, 75])
def test_a_state_of_an_earlier_version_goes_on(tmp_path, added):
    buffer = ReplayBuffer(tmp_path, VECTORS, num_envs=1, capacity=40, between_states=20)
    fill(buffer, added)
    again = ReplayBuffer(tmp_path, VECTORS, num_envs=1, capacity=40, between_states=20)
    again.load_state_dict({"filled": min(added, 60), "next": added % 60, "digest": "00"})
    drawn = [b.sample(50, np.random.default_rng(1)) for b in (buffer, again)]
    np.testing.assert_array_equal(drawn[0].obs, drawn[1].obs)
