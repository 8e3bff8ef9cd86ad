"""Runs that end before their steps are spent."""

import pytest
from conftest import assert_one_sentence

from prefloop.data import dataset
from prefloop.files import read_csv
from prefloop.training import loop
from prefloop.training.settings import StoppingSettings
from prefloop.training.stopping import reason_to_stop

SAC = (
    "prefloop.cli sac --env Pendulum-v1 --steps 1500 --iteration-steps 300 --hidden-sizes 8 "
    "--batch-size 16 --random-steps 100 --updates-per-step 0.2 --evaluation-episodes 2 --out"
)
PPO = (
    "prefloop.cli ppo --env CartPole-v1 --num-envs 4 --rollout-steps 32 --steps 640 "
    "--iteration-steps 128 --hidden-sizes 8 --out"
)
PEBBLE = (
    "prefloop.cli pebble --env Pendulum-v1 --steps 1250 --iteration-steps 250 --exploration-steps 500 "
    "--labels 12 --segment-length 20 --updates-per-step 0.1 --batch-size 16 --random-steps 100 "
    "--hidden-sizes 8 --reward-hidden-sizes 8 --reward-epochs 2 --evaluation-episodes 2 "
    "--critic-updates 5 --no-keep-exploration --out"
)
PREF_PPO = (
    "prefloop.cli pref-ppo --env Pendulum-v1 --num-envs 4 --rollout-steps 50 --steps 1000 "
    "--iteration-steps 200 --labels 20 --segment-length 10 --hidden-sizes 8 --reward-hidden-sizes 8 "
    "--reward-epochs 2 --out"
)
NAN = float("nan")


def rows(*returns, reward=0.0):
    return [{"true_return": value, "reward": reward} for value in returns]


@pytest.mark.parametrize(
    ("seen", "settings", "stops"),
    [
        (rows(1, 2), {"stop_at": 2}, True),
        (rows(3, 1), {"stop_at": 2}, False),  # what was reached and lost again is not there
        (rows(3, NAN), {"stop_at": 2}, False),
        (rows(3, reward=NAN), {"stop_at": 2}, False),  # by luck, before there is a reward
        (rows(5, 1, 1), {"patience": 2}, True),
        (rows(5, 1, 6, 1), {"patience": 2}, False),
        (rows(5, 5, 5), {"patience": 2}, True),  # as good is no better
        (rows(5, 1, NAN), {"patience": 2}, False),
        (rows(5, 1, NAN, 1), {"patience": 2}, True),
        (rows(9, reward=NAN) + rows(5, 6, 7), {"patience": 2}, False),
        (rows(5, 1, 1, 1), {}, False),
        ([], {"stop_at": 2, "patience": 1}, False),
    ],
)
def test_when_a_run_ends(seen, settings, stops):
    assert (reason_to_stop(seen, StoppingSettings(**settings)) is not None) == stops


def files(folder):
    there = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in there}


def result(folder):
    """What came of a run; how its state is pickled depends on whether it was resumed."""
    there = files(folder)
    assert there.keys() > {"run.json", "training_state.pt"}
    return {k: v for k, v in there.items() if k not in ("run.json", "training_state.pt")}


@pytest.mark.parametrize("line", [SAC, PPO])
def test_a_run_ends_when_it_is_good_enough_and_stays_ended(run, tmp_path, line):
    outcome = run(f"{line} p --stop-at=-1e9")
    assert outcome.code == 0, outcome.err
    (row,) = read_csv(tmp_path / "p/metrics.csv")
    assert (
        f"Stopped after iteration 1 of 5, at step {row['steps']}: true_return -" in outcome.out
        or (f"Stopped after iteration 1 of 5, at step {row['steps']}: true_return " in outcome.out)
    )
    assert "has reached --stop_at -1e+09." in outcome.out
    before = result(tmp_path / "p")
    assert {"final_policy.params", "learning_curve.png"} < before.keys()
    again = run(f"{line} p --stop-at=-1e9 --resume")
    assert again.code == 0 and "Stopped after iteration 1" in again.out
    assert result(tmp_path / "p") == before


def test_who_wants_more_goes_on_as_if_it_had_never_ended(run, tmp_path):
    assert run(f"{SAC} p --stop-at=-1e9").code == 0
    assert run(f"{SAC} p --resume").code == 0
    assert run(f"{SAC} q").code == 0
    assert len(read_csv(tmp_path / "p/metrics.csv")) == 5
    one, other = map(result, (tmp_path / "p", tmp_path / "q"))
    assert one == other


def test_a_run_that_was_killed_ends_at_the_same_row(run, tmp_path, monkeypatch):
    line = f"{SAC.replace('--steps 1500', '--steps 6000')} p --patience 1"
    assert run(line.replace(" p ", " q ")).code == 0
    ended_after = len(read_csv(tmp_path / "q/metrics.csv"))
    assert 2 <= ended_after < 20
    real, calls = loop.runs.save_state, []

    def stop(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(loop.runs, "save_state", stop)
        assert run(line).code != 0
    outcome = run(f"{line} --resume")
    assert outcome.code == 0 and "(--patience 1)" in outcome.out
    assert result(tmp_path / "p") == result(tmp_path / "q")


@pytest.mark.parametrize(("line", "ended_after"), [(PEBBLE, 3), (PREF_PPO, 2)])
def test_no_run_ends_before_there_is_a_reward(run, tmp_path, line, ended_after):
    outcome = run(f"{line} p --stop-at=-1e9")
    assert outcome.code == 0, outcome.err
    written = read_csv(tmp_path / "p/metrics.csv")
    assert len(written) == ended_after
    assert written[-1]["labels"] == str(len(dataset.read(tmp_path / "p/preferences")))
    assert "and the others were never asked" in outcome.out
    assert (tmp_path / "p/reward.params").exists()
    before = result(tmp_path / "p")
    assert run(f"{line} p --stop-at=-1e9 --resume").code == 0
    assert result(tmp_path / "p") == before


def test_mistakes_end_in_sentences(run):
    assert_one_sentence(run(f"{PPO} p --patience 0"), "--patience must be above 0")
    assert_one_sentence(run(f"{PPO} p --stop-at nan"), "--stop_at must be a finite number")
