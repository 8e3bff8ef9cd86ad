"""One run of a comparison, whoever has it done."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from made_up import ask, random_segments

from prefloop import policy_files, runs
from prefloop.agents.settings import SACSettings
from prefloop.data import dataset
from prefloop.envs.make import make_vector_env
from prefloop.envs.settings import EnvSettings
from prefloop.envs.spaces import spaces_of
from prefloop.errors import UserError
from prefloop.evaluation.evaluate import evaluate
from prefloop.files import read_csv, read_json
from prefloop.queries.selection import select_queries
from prefloop.rewards.settings import RewardSettings
from prefloop.run_files import PREFERENCES
from prefloop.seeding import Stream, generator
from prefloop.sweeps import running
from prefloop.sweeps.cells import Cell, cells
from prefloop.sweeps.methods import METHODS, SACAlone
from prefloop.sweeps.running import Bench, prepare, run_cell
from prefloop.sweeps.settings import RESULT, CompareSettings
from prefloop.teachers.simulated import SimulatedTeacher
from prefloop.training import demonstrations
from prefloop.training.kept_exploration import KeptExploration
from prefloop.training.on_policy import true_reward
from prefloop.training.settings import ExplorationSettings, PebbleSettings, ReplaySettings

CARTPOLE = EnvSettings(env="CartPole-v0")


def test_a_run_that_acts_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    """On whatever machine takes it next; and ends where one ends that nobody stopped."""

    def of(out):
        return CompareSettings(
            environment=CARTPOLE, methods=("pref-ppo",), labels=(8,), seeds=("0",), steps=8000,
            demonstrator_steps=8000, episodes=4, segment_length=20, evaluation_episodes=4,
            out=str(tmp_path / out),
        )  # fmt: skip

    changes = (("iteration_steps", 1000), ("queries", "uniform"), ("reward_epochs", 2))
    cell = Cell("pref-ppo", 8, 0, changes)
    for out in "ab":
        prepare(of(out), 0)
    run_cell(of("a"), cell)
    save, saved, full = runs.save_state, [], ["the disk is full, once"]

    class Killed(BaseException):
        pass

    def killed_after_two(directory, state):
        if len(state["rows"]) == 3 and full:
            raise UserError(f"Can't write {directory}: {full.pop()}.")
        save(directory, state)
        saved.append(len(state["rows"]))
        if len(saved) == 2:
            raise Killed

    monkeypatch.setattr(runs, "save_state", killed_after_two)
    with pytest.raises(Killed):
        run_cell(of("b"), cell)
    (tmp_path / "b").rename(tmp_path / "c")  # the folder is another one there
    with pytest.raises(UserError, match="the disk is full"):
        run_cell(of("c"), cell)  # which is no reason to begin anew
    run_cell(of("c"), cell)
    assert saved == [1, 2, 3, 4]  # nothing was done twice
    unbroken, broken = (read_json(tmp_path / out / cell.folder / RESULT) for out in "ac")
    assert {**unbroken, "seconds": 0} == {**broken, "seconds": 0}
    one, two = (read_csv(tmp_path / out / cell.folder / "metrics.csv") for out in "ac")
    assert one == two
    # what can't be gone on with is begun anew
    (tmp_path / "c" / cell.folder / "training_state.pt").write_bytes(b"damage")
    run_cell(of("c"), cell)
    assert saved == [1, 2, 3, 4, 1, 2, 3, 4]
    assert {**unbroken, "seconds": 0} == {
        **read_json(tmp_path / "c" / cell.folder / RESULT),
        "seconds": 0,
    }


def test_no_run_learns_from_fewer_answers_than_its_labels(tmp_path):
    settings = CompareSettings(
        environment=CARTPOLE, methods=("dpo",), labels=(9,), out=str(tmp_path)
    )
    place, rng = settings.seed_folder(0) / "preferences", np.random.default_rng(0)
    with dataset.writing(place, CARTPOLE.facts) as writer:
        writer.append(ask(random_segments(8, 5, rng), 5, rng))
    with contextlib.ExitStack() as stack:
        bench = [Bench(settings, Cell("dpo", n, 0), None, tmp_path, stack) for n in (5, 9)]
        assert len(bench[0].answers()) == 5
        with pytest.raises(UserError, match="holds 5 answers, fewer than the 9 of this run"):
            bench[1].answers()


def test_a_reward_that_there_is_not_is_no_other_one(tmp_path):
    settings = CompareSettings(environment=CARTPOLE, methods=("constant",), out=str(tmp_path))
    spaces = spaces_of(make_vector_env(CARTPOLE, 1))
    with contextlib.ExitStack() as stack:
        bench = Bench(settings, Cell("constant", 0, 0), None, tmp_path, stack)
        assert bench.reward("true", spaces) is true_reward
        with pytest.raises(KeyError):
            bench.reward("lerned", spaces)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.7, 1.0])
def test_a_teacher_who_skips_is_asked_a_few_times_and_not_for_ever(tmp_path, monkeypatch, share):
    segments = random_segments(150, 5, np.random.default_rng(0))
    # skipped are pairs of which both are below this, so pairs are answered as often as
    threshold = np.quantile(segments.returns, (1 - share) ** 0.5) if share else 1e9
    teacher = SimulatedTeacher(skip_below=float(threshold))
    turns, one_turn = [], demonstrations.ask_for_pairs

    def counting(place, segments, shown, *arguments, **more):
        turns.append(shown)
        return one_turn(place, segments, shown, *arguments, **more)

    monkeypatch.setattr(demonstrations, "ask_for_pairs", counting)
    place, facts = tmp_path / "preferences", {"env": "CartPole-v0"}
    if not share:
        with pytest.raises(UserError, match="skipped 5120, so that there are 0 answers, not 20"):
            running._ask(place, segments, 20, teacher, facts, 0)
        assert turns == [20 * 2**i for i in range(9)]
        with pytest.raises(UserError, match="pairs, all that 8 segments make, the teacher skipped"):
            running._ask(tmp_path / "few", segments[np.arange(8)], 20, teacher, facts, 0)
        return
    running._ask(place, segments, 20, teacher, facts, 0)
    assert len(turns) <= 9
    # they are those that are asked for one after the other
    found = dataset.read(place).answered[slice(0, 20)]
    pairs = select_queries("uniform", segments, turns[-1], generator(0, Stream.QUERIES))
    labels = teacher.label(pairs)
    first = np.flatnonzero(~np.isnan(labels))[:20]
    assert (found.labels == labels[first]).all()
    assert (found.segments.obs[found.first] == segments.obs[pairs.first[first]]).all()
    if share > 0.5:  # where they are not scarce, nothing is asked beyond what is needed
        assert turns[-1] < 40


ASKING = ("pebble", "pebble+surf", "pebble+rune", "pebble+reed")


@pytest.mark.parametrize(
    ("env", "methods"),
    [
        ("Pendulum-v1", (*ASKING, "sac-constant", "sac-flipped", "sac-random", "sac")),
        ("Hopper-v5", ("pebble", "sac-constant")),  # whose episodes end early
    ],
)
def test_methods_for_continuous_actions(tmp_path, env, methods, monkeypatch):
    if env == "Hopper-v5":
        pytest.importorskip("mujoco")
    # a table of these takes hours; here it is only that each of them is put together and ends
    small = {
        "experience": ReplaySettings(
            iteration_steps=250, updates_per_step=0.02, evaluation_episodes=1
        ),
        "exploration": ExplorationSettings(steps=250, states=64),
        "agent": SACSettings(hidden_sizes=(8,), batch_size=16, random_steps=100),
        "reward": RewardSettings(hidden_sizes=(8,), epochs=2),
    }
    asking = {name: m for name, m in METHODS.items() if isinstance(m.settings, PebbleSettings)}
    assert set(asking) == set(ASKING)
    alone = SACAlone(experience=small["experience"], agent=small["agent"])
    for name in ("sac-constant", "sac-flipped", "sac-random", "sac"):
        monkeypatch.setitem(METHODS, name, replace(METHODS[name], settings=alone))
    for name, method in asking.items():
        own = replace(method.settings, **small)
        monkeypatch.setitem(METHODS, name, replace(method, settings=own))
    settings = CompareSettings(
        environment=EnvSettings(env=env),
        methods=methods,
        labels=(8,),
        seeds=("0",),
        segment_length=20,
        demonstrator_steps=4000,
        episodes=4,
        steps=750,
        evaluation_episodes=2,
        processes=1,
        out=str(tmp_path / "c"),
    )
    begin, explored = KeptExploration.begin, []

    def watched(kept, *arguments):
        begun = begin(kept, *arguments)
        explored.append(begun is None)
        return begun

    monkeypatch.setattr(KeptExploration, "begin", watched)
    assert settings.has_demonstrators == (env == "Pendulum-v1")
    if settings.has_demonstrators:
        prepare(settings, 0)
    for cell in cells(settings):
        run_cell(settings, cell)
        folder = tmp_path / "c" / cell.folder
        result = read_json(folder / RESULT)
        assert np.isfinite(result["mean_return"])
        # what is read back is what was judged
        policy = policy_files.load(folder / "final_policy.params", make_vector_env(env, 1))
        assert evaluate(policy, env, 2, 0).mean() == pytest.approx(result["mean_return"])
        if env == "Hopper-v5":  # or a constant reward would teach to survive
            assert not np.load(folder / "replay/terminated.npy").any()
            changes = {
                "termination": "absorb",
                "absorbing_steps": 50,
            }  # which comes with the program
            assert read_json(folder / "run.json")["learned_in"]["env_changes"] == changes
        rows = read_csv(tmp_path / "c" / cell.folder / "metrics.csv")
        if cell.method in asking:
            assert rows[-1]["labels"] == "8" and cell.labels == 8
            # its answers say whose they are, as the run does
            program = f"prefloop compare, {cell.method}"
            assert dataset.read_metadata(folder / PREFERENCES)["program"] == program
            assert read_json(folder / "run.json")["program"] == program
        else:
            assert "labels" not in rows[-1]
    # the variants explore alike, so once is enough
    assert explored == [True] + [False] * (len(explored) - 1)
    assert len(explored) == len(set(methods) & set(ASKING))
