"""Searches, with runs that take no time."""

import csv
from collections import namedtuple
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from given import SEARCH, as_given
from inline import Inline

from prefloop import tuned
from prefloop.command_line import parse_settings
from prefloop.commands import pebble, ppo, pref_ppo, sac
from prefloop.envs.settings import EnvSettings
from prefloop.errors import UserError
from prefloop.files import write_json
from prefloop.sweeps import best_settings, engines, running, searching, trial_runs
from prefloop.sweeps.jobs import Job
from prefloop.sweeps.search_file import read_search
from prefloop.sweeps.study import read_study

pytest.importorskip("optuna")
pytest_plugins = ["search_fixtures"]


@pytest.fixture
def done(monkeypatch):
    """What was done, in its order; its value is a function of the job that a test may set."""
    found = SimpleNamespace(jobs=[], value=lambda job: 100 * rate(job) + job.what.seed)

    def runs(function):
        def run(settings, what):
            job = Job(function, settings, what)
            found.jobs.append(job)
            if function == "prepare":
                return write_json(job.folder / "prepared.json", {})
            row = {"method": getattr(what, "method", ""), "mean_return": found.value(job)}
            return write_json(job.folder / "result.json", row)

        return run

    for function in ("prepare", "play_at_random", "run_cell"):
        monkeypatch.setattr(running, function, runs(function))
    monkeypatch.setattr(engines, "ThisMachine", Inline)
    return found


def rate(job):
    return dict(job.what.changes).get("learning_rate", 1e-3)


def rows(folder):
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_search_from_its_file_to_the_tuned_file(study, done, tmp_path, capsys):
    searching.tune(as_given(study))
    table = rows(tmp_path / "c")
    assert [row["state"] for row in table] == ["done"] * 6
    # the usual settings first
    assert (table[0]["learning_rate"], table[0]["ensemble"]) == ("0.001", "3")
    assert float(table[0]["return"]) == pytest.approx(0.1 + 0.5)
    best = max(table, key=lambda row: float(row["return"]))
    assert f"best is trial {best['trial']}" in capsys.readouterr().out
    # demonstrators once for each seed, then two runs for each trial
    assert [job.function for job in done.jobs] == ["prepare"] * 2 + ["run_cell"] * 12
    preset = tmp_path / "c" / "best.yaml"
    values = tuned.read(preset, "pref-ppo", pref_ppo.Settings)
    assert values["learning_rate"] == float(best["learning_rate"])
    assert values.get("ensemble", 3) == int(best["ensemble"]) and set(values) <= {
        "learning_rate",
        "ensemble",
    }
    text = " ".join(preset.read_text().split())
    assert f"trial {best['trial']} of 6" in text and "The usual settings: 0.6" in text
    # a study that compare reads, on seeds that come after
    (comparison,) = read_study(as_given(tmp_path / "c" / "fresh.yaml")).comparisons
    assert (
        comparison.settings.seed_numbers == [2, 3, 4, 5, 6] and comparison.settings.steps == 20000
    )
    assert dict(comparison.changes["pref-ppo"][0]) == values
    page = (tmp_path / "c" / "index.html").read_text()
    assert "6 of 6 trials" in page and f"The best is trial {best['trial']}" in page
    for picture in ("history.png", "importances.png"):
        assert (tmp_path / "c" / picture).read_bytes().startswith(b"\x89PNG") and picture in page
    # given again, it has nothing to do
    searching.tune(as_given(study))
    assert len(done.jobs) == 14 and rows(tmp_path / "c") == table


@pytest.mark.parametrize(
    ("range_", "first"),
    [("{low: 4, high: 10, step: 3}", "10"), ("{low: 3, high: 11, step: 2}", None)],
)
def test_the_usual_settings_come_first_where_the_steps_have_them(
    study, done, tmp_path, capsys, range_, first
):
    text = study.read_text().partition("  ranges:")[0].replace("trials: 6", "trials: 1")
    study.write_text(f"{text}  ranges: {{update_epochs: {range_}}}\n")
    searching.tune(as_given(study))
    (row,) = rows(tmp_path / "c")
    is_told = "update_epochs 10 is outside of its range" in capsys.readouterr().err
    assert is_told == (first is None) and row["update_epochs"] in (
        first or ["3", "5", "7", "9", "11"]
    )
    reached = (tmp_path / "c" / "best.yaml").read_text()
    assert ("The usual settings:" in reached) == (first is not None)


@pytest.mark.parametrize(
    ("method", "range_", "command", "there"),
    [
        (
            "sac",
            "tau: [0.01, 0.02]",
            sac,
            {"tau", "random_steps"},
        ),  # it has PEBBLE's agent in compare
        ("pebble+surf", "surf_weight: [0.5, 2]", pebble, {"surf", "surf_weight"}),
        ("true-reward", "clip: [0.15, 0.25]", ppo, {"clip"}),
        ("dpo", "beta: [0.03, 0.3]", None, set()),
    ],
)
def test_what_is_written_is_read_by_the_methods_command(
    study, done, tmp_path, method, range_, command, there
):
    text = study.read_text().partition("  ranges:")[0].replace("pref-ppo", method)
    text = text.replace("CartPole-v1", "Pendulum-v1").replace("trials: 6", "trials: 2")
    study.write_text(f"{text}  ranges: {{{range_}}}\n")
    searching.tune(as_given(study))
    preset = tmp_path / "c" / "best.yaml"
    assert preset.exists() == (command is not None)
    if command is not None:
        name = command.__name__.rpartition(".")[2]
        assert set(tuned.read(preset, name, command.Settings)) == there
    (comparison,) = read_study(as_given(tmp_path / "c" / "fresh.yaml")).comparisons
    (changes,) = comparison.changes[method]
    assert len(changes) == 1


@pytest.mark.parametrize(
    ("env", "flags"),
    [
        ("dm_control/walker-walk-v0", {"action_repeat": 2}),  # as what comes with the program has it
        ("{env: dm_control/walker-walk-v0, action_repeat: 1}", {}),
        ("{env: Hopper-v5, horizon: 300, termination: absorb}", {"horizon": 300, "termination": "absorb"}),
        ("[{env: Hopper-v5, horizon: 300, frame_stack: 2}, {env: Hopper-v5, horizon: 300}]", {"horizon": 300}),
    ],
)  # fmt: skip
def test_what_is_written_has_the_environment_that_was_searched_in(study, tmp_path, env, flags):
    text = study.read_text().partition("  ranges:")[0].replace("pref-ppo", "pebble, sac")
    text = text.replace("env: CartPole-v1", f"env: {env}") + "  maximise: score\n  method: pebble\n"
    study.write_text(f"{text}  ranges: {{batch_size: [64, 128]}}\n")
    search = read_search(as_given(study))
    trial = SimpleNamespace(number=0, value=1.0, user_attrs={})
    search.root.mkdir()
    best_settings.write_best(search, {"batch_size": 64}, trial, None, [])
    preset = str(search.root / "best.yaml")
    given = ["--out", str(tmp_path / "p"), "--preset", preset]
    first, *others = (one.settings.environment for one in search.study.comparisons)
    settings = parse_settings(
        pebble.Settings,
        ["--env", first.env, *given],
        lambda values: tuned.defaults_for("pebble", pebble.Settings, values).arguments,
    )
    assert settings.environment == EnvSettings(env=first.env, **flags)
    assert bool(others) or settings.environment == first
    assert settings.pebble.agent.batch_size == 64


def test_what_fails_is_kept_and_not_in_the_way(study, done, tmp_path, capsys):
    def value(job):
        if rate(job) > 1e-3:
            raise UserError("All answers are ties.")
        return 5.0

    done.value = value
    searching.tune(as_given(study))
    states = {row["state"]: row["why"] for row in rows(tmp_path / "c")}
    assert set(states) == {"done", "failed"} and "All answers are ties." in states["failed"]
    assert "failed (learning_rate" in capsys.readouterr().out


def test_nothing_that_came_of_it_is_an_error(study, done, tmp_path):
    def value(job):
        raise UserError("All answers are ties.")

    done.value = value
    with pytest.raises(UserError, match=r"No trial came to anything\. The first, trial 0: .*ties"):
        searching.tune(as_given(study))
    assert not (tmp_path / "c" / "best.yaml").exists()


def test_what_is_clearly_worse_is_given_up_before_all_its_seeds(study, done, tmp_path):
    study.write_text(study.read_text().replace("seeds: 0-1", "seeds: 0-7"))
    searching.tune(as_given(study))
    table = rows(tmp_path / "c")
    early = [row for row in table if row["state"] == "given up"]
    best = max(table, key=lambda row: float(row["return"]))
    assert early and all(4 <= int(row["runs"]) < 8 for row in early)
    assert best["state"] == "done" and best["runs"] == "8"
    assert sum(int(row["runs"]) for row in table) == len(done.jobs) - 8
    # Wilcoxon's test is never below 0
    study.write_text(study.read_text().replace("trials: 6", "p_threshold: 0\n  trials: 6"))
    searching.tune(as_given(study, out=str(tmp_path / "d")))
    assert {row["runs"] for row in rows(tmp_path / "d")} == {"8"}


def test_a_trial_goes_on_whose_runs_under_way_make_up_for_the_others(
    study, done, tmp_path, monkeypatch
):
    """Or what was given up, and had a part of its runs, would be the best one."""
    waiting, waited = [], namedtuple("Waited", ["done", "not_done"])

    class ThreeAtOnce(Inline):
        at_once = 3

        def __init__(self, num_processes):
            pass

        def submit(self, function, job):
            future = Future()
            waiting.append((future, function, job))
            return future

    def wait(futures, **how):
        """The one that began first is done."""
        future, function, job = waiting.pop(0)
        future.set_result(function(job))
        return waited({future}, set(futures) - {future})

    def value(job):
        seed = job.what.seed
        if rate(job) == 1e-3:  # the usual settings
            return 10 + seed / 100
        return 9 if seed < 4 else 100

    monkeypatch.setattr(engines, "ThisMachine", ThreeAtOnce)
    monkeypatch.setattr(trial_runs, "wait", wait)
    done.value = value
    study.write_text(study.read_text().replace("0-1", "0-7").replace("trials: 6", "trials: 2"))
    searching.tune(as_given(study))
    usual, other = rows(tmp_path / "c")
    assert usual["state"] == other["state"] == "done" and other["runs"] == "8"
    assert float(other["return"]) == pytest.approx(54.5)


def test_scores_of_several_environments(study, done, tmp_path):
    text = study.read_text().replace("CartPole-v1", "[CartPole-v1, Acrobot-v1]")
    text = text.replace("[pref-ppo]", "[pref-ppo, true-reward]").replace(
        "trials: 6", "trials: 1\n  maximise: score"
    )
    study.write_text(text)

    def value(job):
        scale = 10 if "Acrobot" in job.settings.environment.env else 1
        if job.function == "play_at_random":
            return 20.0 * scale
        return {"true-reward": 120.0, "pref-ppo": 70.0}[job.what.method] * scale

    done.value = value
    searching.tune(as_given(study))
    (row,) = rows(tmp_path / "c")
    assert float(row["score"]) == pytest.approx(0.5) and row["runs"] == "4"
    done.value = lambda job: 20.0
    with pytest.raises(UserError, match=r"no scores in (CartPole|Acrobot)-v1"):
        searching.tune(as_given(study, out=str(tmp_path / "d")))


def test_what_is_searched_is_no_end_of_its_own_scale(study, done, tmp_path):
    text = study.read_text().partition("    ensemble")[0].replace("CartPole-v1", "Pendulum-v1")
    text = text.replace("  trials: 6", "  method: sac\n  trials: 2\n  maximise: score")

    def value(job):
        if job.function == "play_at_random":
            return -1000.0
        return {"true-reward": -500.0, "sac": -200.0}[job.what.method]

    done.value = value
    study.write_text(text.replace("[pref-ppo]", "[sac, true-reward]"))
    searching.tune(as_given(study))
    study.write_text(study.read_text().replace("trials: 2", "trials: 4"))
    searching.tune(as_given(study))  # the first trial's settings are the usual ones
    assert [float(row["score"]) for row in rows(tmp_path / "c")] == [pytest.approx(1.6)] * 4
    study.write_text(text.replace("[pref-ppo]", "[sac]"))
    with pytest.raises(UserError, match="a score needs true-reward among the methods"):
        searching.tune(as_given(study, out=str(tmp_path / "d")))


def test_a_folder_of_another_search_or_of_something_else(study, done, tmp_path):
    searching.tune(as_given(study))
    text = study.read_text()
    for before, after, words in (
        ("labels: 20", "labels: 30", r"labels \[20\], not \[30\]"),
        ("high: 1e-2", "high: 1e-1", "a search with range of learning_rate"),
    ):
        study.write_text(text.replace(before, after))
        with pytest.raises(UserError, match=words):
            searching.tune(as_given(study))
    # more trials are more of the same
    study.write_text(text.replace("trials: 6", "trials: 8"))
    searching.tune(as_given(study))
    assert len(rows(tmp_path / "c")) == 8
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "thesis.txt").write_text("chapter one")
    with pytest.raises(UserError, match="something else than a search"):
        searching.tune(as_given(study, out=str(tmp_path / "d")))
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["thesis.txt"]
    # what another command, begun at the same moment, is writing
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / ".tune.yaml.7.tmp").write_text("out: ")
    searching.tune(as_given(study, out=str(tmp_path / "e")))
    assert len(rows(tmp_path / "e")) == 8


def test_a_file_that_is_changed_while_it_is_searched(study, done, tmp_path, capsys):
    def value(job):
        study.write_text(SEARCH.format(root=tmp_path).replace("trials: 6", "trials: 600"))
        return 1.0

    done.value = value
    searching.tune(as_given(study))
    assert len(rows(tmp_path / "c")) == 6
    assert "was changed meanwhile" in capsys.readouterr().err
