import copy
import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest
import torch

from prefloop import checkpoints, runs
from prefloop.agents.settings import PPOSettings
from prefloop.envs.settings import EnvSettings
from prefloop.errors import UserError
from prefloop.evaluation.evaluate import evaluate
from prefloop.seeding import Stream, integer
from prefloop.settings import as_flat, part, setting
from prefloop.training import loop
from prefloop.training.on_policy import (
    OnPolicyTraining,
    act_and_improve,
    make_ppo,
    stepping_in,
    true_reward,
)
from prefloop.training.plans import Plan
from prefloop.training.settings import ExperienceSettings, RunSettings

ROOT = Path(__file__).resolve().parents[2]


SMALL = {"steps": 512, "iteration_steps": 128, "num_envs": 4, "rollout_steps": 32}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of a run that takes no time."""

    run: RunSettings = part(RunSettings)
    environment: EnvSettings = part(EnvSettings, env=setting("CartPole-v1", "of a small run"))
    experience: ExperienceSettings = part(
        ExperienceSettings,
        **{name: setting(value, "small") for name, value in SMALL.items()},
    )
    agent: PPOSettings = part(PPOSettings, hidden_sizes=setting((8,), "small"))


def changed(settings, **changes):
    """The same with some changes, in whatever part they belong to."""
    for name, value in changes.items():
        for field in fields(settings):
            one = getattr(settings, field.name)
            if name in as_flat(one):
                settings = replace(settings, **{field.name: replace(one, **{name: value})})
    return settings


class Training(OnPolicyTraining):
    """Can be killed in the middle of an iteration, when its updates are done."""

    killed_in = -1

    def iterate(self, iteration):
        row = super().iterate(iteration)
        if iteration == self.killed_in:
            os.kill(os.getpid(), signal.SIGKILL)
        return row


def train(out, resume=False, killed_in=-1, facts=(), **settings):
    """A small run of PPO; its weights and rows."""
    settings = changed(Settings(run=RunSettings(out=str(out), resume=resume)), **settings)
    agent, stepping, plan = parts_of(settings)
    env = settings.environment
    learner = Training(agent, stepping, env, true_reward, plan, settings.run.seed)
    learner.killed_in = killed_in
    facts = {"env": env.env, "activation": "tanh", "settings": as_flat(settings), **dict(facts)}
    with runs.claimed(Path(out), resume):
        training = loop.Training(learner=learner, iterations=plan.iterations, show=("reward",))
        rows = loop.turn(training, settings.run, facts, quiet=True)
    return [p.detach().clone() for p in agent.parameters], rows


def parts_of(settings):
    stepping = stepping_in(settings.environment, settings.experience.num_envs)
    agent = make_ppo(stepping, settings.agent, settings.run.seed, torch.device("cpu"))
    return agent, stepping, Plan.of(settings.experience)


class Counter:
    """Counts its iterations; calls itself done after some."""

    def __init__(self, enough=10**9):
        self.count, self.enough = 0, enough

    @property
    def finished(self):
        return self.count >= self.enough

    def iterate(self, iteration):
        assert iteration == self.count
        self.count += 1
        return {"iteration": iteration, "count": self.count}

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"] + 0


def count(out, iterations, learner=None, **settings):
    learner = learner or Counter()
    settings = RunSettings(out=str(out), **settings)
    with runs.claimed(Path(out), settings.resume):
        training = loop.Training(learner=learner, iterations=iterations, show=("count",))
        return loop.turn(training, settings, {"settings": as_flat(settings)}, quiet=True)


def read_rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_every_iteration_is_a_row(tmp_path):
    class Looking(Counter):
        seen = ()

        def iterate(self, iteration):
            there = (tmp_path / "metrics.csv").exists()
            self.seen += (len(read_rows(tmp_path / "metrics.csv")) if there else 0,)
            return super().iterate(iteration)

    learner = Looking()
    rows = count(tmp_path, 4, learner)
    assert learner.seen == (0, 1, 2, 3)
    assert rows == [{"iteration": i, "count": i + 1} for i in range(4)]
    written = [{k: int(v) for k, v in row.items()} for row in read_rows(tmp_path / "metrics.csv")]
    assert written == rows
    assert json.loads((tmp_path / "run.json").read_text())["settings"]["out"] == str(tmp_path)


def test_what_is_learned_ends_the_run(tmp_path):
    assert len(count(tmp_path, 10, Counter(enough=3))) == 3
    # and a run that is over does nothing more
    learner = Counter(enough=3)
    assert len(count(tmp_path, 10, learner, resume=True)) == 3
    assert learner.count == 3


@pytest.mark.parametrize("terminal", [True, False])
def test_the_progress_bar_is_for_terminals(tmp_path, capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    settings = RunSettings(out=str(tmp_path))
    with runs.claimed(tmp_path, resume=False):
        loop.turn(
            loop.Training(learner=Counter(), iterations=3, show=("count",)),
            settings,
            {"settings": {}},
        )
    assert ("count=3" in capsys.readouterr().err) == terminal


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no such signal")
def test_a_run_that_was_killed_ends_where_the_unbroken_one_does(tmp_path):
    weights, rows = train(tmp_path / "unbroken")
    code = "import sys, test_loop; test_loop.train(sys.argv[1], killed_in=2)"
    path = os.pathsep.join(map(str, (ROOT, Path(__file__).parent)))
    killed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "killed")],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(read_rows(tmp_path / "killed" / "metrics.csv")) == 2
    resumed, resumed_rows = train(tmp_path / "killed", resume=True)
    assert same(weights, resumed)
    assert resumed_rows == rows
    one, other = (tmp_path / run / "metrics.csv" for run in ("unbroken", "killed"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("place", ["write_csv", "save_state"])
@pytest.mark.parametrize("call", [1, 3])
def test_a_stop_between_two_files(tmp_path, monkeypatch, place, call):
    weights, rows = train(tmp_path / "unbroken")
    module = loop if place == "write_csv" else loop.runs
    real, calls = getattr(module, place), []

    def stop(*args):
        calls.append(args)
        if len(calls) == call:
            raise KeyboardInterrupt
        return real(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, place, stop)
        train(tmp_path / "stopped")
    resumed, resumed_rows = train(tmp_path / "stopped", resume=True)
    assert same(weights, resumed)
    assert resumed_rows == rows
    assert read_rows(tmp_path / "stopped" / "metrics.csv") == read_rows(
        tmp_path / "unbroken" / "metrics.csv"
    )


def test_a_new_run_in_the_place_of_an_old_one(tmp_path):
    train(tmp_path)
    _, rows = train(tmp_path, seed=1)
    assert len(rows) == len(read_rows(tmp_path / "metrics.csv")) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 1}, "seed 0, not 1"),
        ({"gamma": 0.5}, "gamma 0.995, not 0.5"),
        ({"hidden_sizes": (8, 8)}, r"hidden_sizes \[8\], not \[8, 8\]"),
        ({"steps": 1024}, "steps 512, not 1024"),
        ({"facts": {"reward_sha256": "ab"}}, "other contents of --reward"),
    ],
)
def test_a_run_goes_on_as_it_was_started(tmp_path, changes, words):
    train(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=words):
        train(tmp_path, resume=True, **changes)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_where_a_run_is_does_not_matter(tmp_path):
    _, rows = train(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    assert train(tmp_path / "there", resume=True)[1] == rows


def damaged(path, content):
    """A state with the right keys whose insides are of something else."""
    checkpoints.save(path, {"rows": [{"iteration": 0}], "learner": content})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(b""), "truncated or no PyTorch checkpoint"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "Can't read|truncated"),
        (lambda path: checkpoints.save(path, {"policy": 1}), "damaged: it holds no state of a run"),
        (lambda path: damaged(path, {}), "is not of this run"),
        (lambda path: damaged(path, 3), "is not of this run"),
        (lambda path: damaged(path, {"ppo": [1]}), "is not of this run"),
        (lambda path: damaged(path, {"ppo": {"policy": {}, "value": {}}}), "is not of this run"),
        (lambda path: path.unlink(), "holds a run without its training_state.pt"),
    ],
)
def test_a_damaged_state(tmp_path, damage, words):
    train(tmp_path)
    damage(tmp_path / "training_state.pt")
    with pytest.raises(UserError, match=words):
        train(tmp_path, resume=True)


@pytest.mark.parametrize("part", ["policy", "value", "optimizer", "scales"])
def test_a_state_with_one_damaged_part(tmp_path, part):
    train(tmp_path)
    state = checkpoints.load(tmp_path / "training_state.pt")
    state["learner"]["ppo"][part] = 5
    checkpoints.save(tmp_path / "training_state.pt", state)
    with pytest.raises(UserError, match="is not of this run"):
        train(tmp_path, resume=True)


def test_nothing_to_go_on_with(tmp_path):
    with pytest.raises(UserError, match="no run to resume"):
        train(tmp_path, resume=True)


def test_two_processes_do_not_share_a_directory(tmp_path):
    with (
        runs.claimed(tmp_path, resume=False),
        pytest.raises(UserError, match="Another process is writing"),
    ):
        train(tmp_path)
    train(tmp_path)


def test_a_row_for_every_tracker(tmp_path, monkeypatch):
    class Noting:
        rows, closed = (), False

        def __init__(self, directory, config, first_step):
            assert directory == tmp_path

        def log(self, row, step):
            Noting.rows += ((step, row["count"]),)

        def close(self):
            Noting.closed = True

    monkeypatch.setitem(loop.tracking.TRACKERS, "tensorboard", Noting)
    settings = RunSettings(out=str(tmp_path), track=("tensorboard",))
    with runs.claimed(tmp_path, resume=False):
        loop.turn(
            loop.Training(learner=Counter(), iterations=3, show=("count",)),
            settings,
            {"settings": {}},
            quiet=True,
        )
    assert Noting.rows == ((0, 1), (1, 2), (2, 3))
    assert Noting.closed


def test_rows_that_a_run_begins_with_are_tracked_too(tmp_path, monkeypatch):
    class Noting:
        rows = ()

        def __init__(self, directory, config, first_step):
            assert first_step == 0  # what comes first is not what stood there before

        def log(self, row, step):
            Noting.rows += ((step, row["count"]),)

        def close(self):
            pass

    monkeypatch.setitem(loop.tracking.TRACKERS, "tensorboard", Noting)

    class Acting(Counter):
        def iterate(self, iteration):
            return super().iterate(iteration) | {"steps": 50 * self.count}

    earlier = Acting()
    begun = {"rows": [earlier.iterate(0), earlier.iterate(1)], "learner": earlier.state_dict()}

    settings = RunSettings(out=str(tmp_path), track=("tensorboard",))
    with runs.claimed(tmp_path, resume=False):
        rows = loop.turn(
            loop.Training(
                learner=Acting(), iterations=3, show=("count",), begin=lambda: copy.deepcopy(begun)
            ),
            settings,
            {"settings": {}},
            quiet=True,
        )
    assert rows[:2] == begun["rows"]
    assert Noting.rows == ((50, 1), (100, 2), (150, 3))


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1"])
def test_where_an_iteration_is_shorter_than_an_episode_some_are_played(tmp_path, env_id):
    """None of Pendulum's ends in 32 steps, of CartPole's only the worst."""
    _, rows = train(tmp_path, env=env_id)
    settings = changed(Settings(run=RunSettings(out="")), env=env_id)
    agent, stepping, plan = parts_of(settings)
    for iteration, row in enumerate(rows):
        act_and_improve(agent, stepping, true_reward, plan, 0, iteration)
        seed = integer(0, Stream.EVALUATION_ENVIRONMENTS, iteration)
        assert row["episodes"] == 10
        assert row["true_return"] == evaluate(agent.acting_policy, env_id, 10, seed).mean()


def test_no_episode_is_longer_than_it_can_be(tmp_path):
    """Where few end, or none, before the next reset, the steps by the ends are more than that."""
    for env, longest in (("Pendulum-v1", 200), ("CartPole-v0", 200)):
        _, rows = train(tmp_path / env, env=env)
        assert all(0 < row["episode_length"] <= longest for row in rows)
        assert env != "Pendulum-v1" or {row["episode_length"] for row in rows} == {longest}
