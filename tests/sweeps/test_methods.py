"""A method of a comparison is one entry: settings, page and best settings read what it says of itself."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from test_compare_page import result, write_page

from prefloop import tuned
from prefloop.commands import pebble
from prefloop.envs.settings import EnvSettings
from prefloop.settings import part
from prefloop.sweeps import best_settings
from prefloop.sweeps.cells import Comparison
from prefloop.sweeps.engine_settings import EngineSettings
from prefloop.sweeps.methods import CONTROLS, METHODS, Compared
from prefloop.sweeps.remembering import read, remember
from prefloop.sweeps.search_file import Search, SearchSettings
from prefloop.sweeps.settings import (
    CompareSettings,
    run_settings,
    settings_by_method,
    tuned_flags,
)
from prefloop.sweeps.study import Study
from prefloop.training.settings import PebbleSettings, ReplaySettings

WALKER = EnvSettings(env="dm_control/walker-walk-v0", action_repeat=2)


@dataclass(frozen=True, kw_only=True)
class Alone:
    """Settings of nobody else's."""

    experience: ReplaySettings = part(ReplaySettings)


@pytest.fixture
def newcomers(monkeypatch):
    """One that asks from scratch, one that is a control, and one about which nothing is said."""
    from_scratch = {"by_default": False, "has_demonstrators": False, "from_scratch": True}
    entries = {
        "newcomer": Compared(
            None, "C1", PebbleSettings(), tuned_as="pebble", command="pebble", **from_scratch
        ),
        "sham": Compared(None, "C2", Alone(), uses_labels=False, control="random", **from_scratch),
        "plain": Compared(None, "C3", Alone()),
    }
    for name, entry in entries.items():
        monkeypatch.setitem(METHODS, name, entry)
    return tuple(entries)


def test_what_the_entries_name_is_there():
    for method in METHODS.values():
        assert {method.command, method.tuned_as} <= {"", *tuned.COMMANDS}
        assert method.control in ("", *CONTROLS)


def test_a_newcomer_has_the_settings_that_it_names(newcomers, tmp_path):
    settings = CompareSettings(methods=newcomers, environment=WALKER, out=str(tmp_path / "c"))
    assert tuned_flags(settings) == {"newcomer": {"network": "residual"}}
    assert run_settings("newcomer", settings, 30).questions.labels == 30
    assert run_settings("sham", settings, 30).experience.steps == settings.steps
    remember(Comparison(settings))
    comparison, by_method = read(tmp_path / "c")
    assert (
        comparison.settings == settings and by_method.keys() == settings_by_method(settings).keys()
    )


def test_the_page_says_of_a_newcomer_what_is_true(newcomers, tmp_path):
    settings = CompareSettings(
        methods=newcomers, environment=WALKER, labels=(20,), out=str(tmp_path)
    )
    found = [result(name, 20 if METHODS[name].uses_labels else 0, 0, 100.0) for name in newcomers]
    write_page(tmp_path, settings, found)
    page = " ".join((tmp_path / "index.html").read_text(encoding="utf-8").split())
    for sentence in (
        "The same labelled pairs were given to <em>plain</em>;",
        "as many as the budget, were asked by <em>newcomer</em>.",
        "The weaker demonstrator is what <em>plain</em> started as.",
        "From scratch, with a network of their own, started <em>newcomer</em> and <em>sham</em>.",
        "Controls learn by PPO from an untrained network: <em>sham</em>.",
    ):
        assert sentence in page


def test_the_best_settings_of_a_newcomer_are_a_preset_of_the_command_that_it_names(
    newcomers, tmp_path
):
    pytest.importorskip("yaml")

    def preset(name, point):
        out = tmp_path / name
        out.mkdir()
        settings = CompareSettings(
            methods=(name,), environment=WALKER, labels=(20,), out=str(out / "c")
        )
        study = Study([Comparison(settings, {name: [()]})], str(out), 0, EngineSettings())
        search = Search(out, {"env": WALKER.env}, study, SearchSettings(method=name), {})
        trial = SimpleNamespace(number=0, value=1.0, user_attrs={"sweep": ""})
        best_settings.write_best(search, point, trial, None, [])
        return out / best_settings.PRESET

    values = tuned.read(preset("newcomer", {"batch_size": 64}), "pebble", pebble.Settings)
    assert values == {"network": "residual", "batch_size": 64, "action_repeat": 2}
    assert not preset("plain", {"updates_per_step": 0.5}).exists()
