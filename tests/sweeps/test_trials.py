"""Trials that many commands take and leave: of one search, in a journal or a database."""

import signal
import subprocess
import sys

import pytest
from conftest import ROOT
from given import as_given

from prefloop.errors import UserError
from prefloop.sweeps.search_file import Search, read_search
from prefloop.sweeps.trials import Trials

pytest.importorskip("optuna")
pytest_plugins = ["search_fixtures"]


def begun(study, storage: str = "", trials: int = 6) -> Search:
    """A search of the file whose folder is there."""
    text = study.read_text()
    study.write_text(text.replace("trials: 6", f"trials: {trials}\n  storage: '{storage}'"))
    search = read_search(as_given(study))
    search.root.mkdir()
    return search


def test_usual_settings_that_were_left_are_still_known(study):
    search = begun(study)
    usual = {"learning_rate": 1e-3, "ensemble": 3}
    for _ in range(2):  # whoever took it was killed, and so was the next
        with Trials(search) as trials:
            trials.suggest_usual(usual)
            trials.ask()
    with Trials(search) as trials:
        assert trials.usual is None
        trial = trials.ask()
        trials.tell(trial, 7.0, is_given_up=False)
        assert trial.number == 2 and trials.usual.value == 7.0


@pytest.mark.parametrize("storage", ["", "sqlite:///{root}/search.db"])
def test_processes_share_a_search_and_what_one_leaves_is_given_to_another(study, tmp_path, storage):
    search = begun(study, storage.format(root=tmp_path), trials=3)
    code = (
        "import sys, time; from prefloop.sweeps.trials import Trials; "
        "from prefloop.sweeps.search_file import read_search; from prefloop.sweeps.settings import StudySettings; "
        f"t = Trials(read_search(StudySettings(study={str(study)!r}))).__enter__(); a = t.ask(); "
        "print(a.number, a.params, flush=True); time.sleep(600)"
    )
    line = [sys.executable, "-c", code]
    with (
        subprocess.Popen(line, stdout=subprocess.PIPE, text=True, cwd=ROOT) as other,
        Trials(search) as mine,
    ):
        taken = other.stdout.readline()
        first = mine.ask()
        assert taken.startswith("0 ") and first.number == 1
        mine.tell(first, 1.0, is_given_up=False)
        second = mine.ask()  # the other one is alive
        assert second.number == 2
        mine.tell(second, 2.0, is_given_up=False)
        assert mine.ask() is None
        other.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        other.wait()
        again = mine.ask()
        assert taken.split(" ", 1)[1].strip() == str(again.params)
        mine.tell(again, 3.0, is_given_up=False)
        assert mine.ask() is None
        assert [trial.number for trial in mine.all] == [1, 2, 3] and mine.best.number == 3
    assert not list((search.root / "owners").iterdir())


@pytest.mark.parametrize("storage", ["", "sqlite:///{root}/search.db"])
def test_a_folder_that_was_moved_is_the_same_search(study, tmp_path, storage):
    search = begun(study, storage.format(root=tmp_path))
    with Trials(search) as trials:
        trials.tell(trials.ask(), 7.0, is_given_up=False)
    search.root.rename(tmp_path / "d")
    with Trials(read_search(as_given(study, out=str(tmp_path / "d")))) as trials:
        assert [trial.value for trial in trials.all] == [7.0]


def test_a_journal_that_names_its_study_after_a_folder_that_was_moved(study, tmp_path):
    optuna = pytest.importorskip("optuna")
    search = begun(study)
    backend = optuna.storages.journal.JournalFileBackend(str(search.root / "journal.log"))
    storage = optuna.storages.JournalStorage(backend)
    before = optuna.create_study(storage=storage, study_name="earlier", direction="maximize")
    before.enqueue_trial({"learning_rate": 1e-3, "ensemble": 3})
    with Trials(search) as trials:
        assert trials.study.study_name == "earlier" and trials.ask().params["ensemble"] == 3


def test_a_database_is_shared_with_the_folder_alone(study, tmp_path):
    """Or each would take what the other runs for left, and nobody's runs would be there."""
    where = f"sqlite:///{tmp_path}/search.db"
    study.write_text(study.read_text().replace("trials: 6", f"trials: 6\n  storage: '{where}'"))
    one, two = (read_search(as_given(study, out=str(tmp_path / name / "c"))) for name in ("1", "2"))
    for search in (one, two):
        search.root.mkdir(parents=True)
    with Trials(one) as trials:
        trial = trials.ask()
        with pytest.raises(UserError, match=r"a search c already, .* another folder, .*1.c; "):
            Trials(two)
        trials.tell(trial, 1.0, is_given_up=False)
    other = read_search(as_given(study, out=str(tmp_path / "2" / "d")))
    other.root.mkdir()
    with Trials(other) as trials:
        assert not trials.all


def test_a_search_that_is_stopped_draws_what_it_would_have(study, tmp_path):
    def drawn(out, stops):
        found = []
        search = read_search(as_given(study, out=str(tmp_path / out)))
        search.root.mkdir()
        while len(found) < 6:
            with Trials(search) as trials:
                while (trial := trials.ask()) is not None:
                    if len(found) in stops:
                        stops.remove(len(found))
                        break  # which leaves it running
                    found.append(trials.point(trial))
                    trials.tell(trial, found[-1]["learning_rate"], is_given_up=False)
        return found

    assert drawn("a", []) == drawn("b", [0, 3]) != []
