import pytest
from conftest import assert_one_sentence
from given import as_given

from prefloop.errors import UserError
from prefloop.sweeps.ranges import Choice, Range
from prefloop.sweeps.search_file import read_search

BEFORE = """
out: c
env: CartPole-v1
methods: [pref-ppo]
labels: 20
seeds: 0-2
"""
SEARCH = """search:
  ranges:
"""


@pytest.fixture
def search(tmp_path):
    def read(text, **given):
        file = tmp_path / "search.yaml"
        file.write_text(text)
        return read_search(as_given(file, **given))

    return read


def test_what_is_tried(search):
    found = search(
        BEFORE
        + "reward_epochs: 7\n"
        + SEARCH
        + """    learning_rate: {low: 1e-4, high: 1e-2, log: true}
    update_epochs: {low: 2, high: 8, step: 2}
    hidden_sizes: [[16, 16], [64]]
    queries: [uniform, disagreement]
    ensemble: [1, 3]
  trials: 12
"""
    )
    assert found.settings.method == "pref-ppo" and found.settings.trials == 12
    assert found.ranges == {
        "learning_rate": Range(1e-4, 1e-2, log=True),
        "update_epochs": Range(2, 8, whole=True, step=2),
        "hidden_sizes": Choice(((16, 16), (64,))),
        "queries": Choice(("uniform", "disagreement")),
        "ensemble": Choice((1, 3)),  # disagreement needs more than one; uniform does not
    }
    (comparison,) = found.study.comparisons
    assert found.fixed(comparison) == {"reward_epochs": 7}
    assert [(one.number, one.seed) for one in found.instances] == [(0, 0), (1, 1), (2, 2)]


def test_a_value_that_was_drawn_is_one_that_reads_well():
    rate = Range(1e-4, 1e-2, log=True)
    assert rate.as_set(0.00316227766) == 0.003162
    assert (
        rate.as_set(0.009999999) == 0.01 and Range(0.33333333, 1).as_set(0.33333334) == 0.33333333
    )
    sizes = Choice(((16, 16), (64,)))
    assert [sizes.as_set(sizes.drawn(value)) for value in sizes.values] == list(sizes.values)
    steps = Range(0.99, 0.99975, step=0.00025)
    assert steps.as_set(0.99 + 0.00025) == 0.99025 and steps.holds(steps.as_set(0.9905))
    assert not Range(1, 3).holds(None) and not sizes.holds((16,))


def test_runs_of_several_environments_take_turns(search):
    text = BEFORE.replace("CartPole-v1", "[CartPole-v1, Acrobot-v1]").replace(
        "[pref-ppo]", "[pref-ppo, true-reward]"
    )
    found = search(text + SEARCH + "    clip: [0.1, 0.2]\n  maximise: score\n")
    assert [(one.comparison.settings.environment.env, one.seed) for one in found.instances] == [
        (env, seed) for seed in (0, 1, 2) for env in ("CartPole-v1", "Acrobot-v1")
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a search needs a section `search:`"),
        ("search: 5", "line 7: a search needs a section"),
        ("search: {trials: 5}", "line 7: a search needs `ranges:`"),
        ("search: {ranges: {}}", "a search needs `ranges:`"),
        ("search: {trails: 5}", "line 7: trails is no setting of a search; did you mean trials?"),
        ("search: {trials: 0, ranges: {clip: [0.1, 0.2]}}", "line 7: trials must be above 0"),
        ("search: {p_threshold: 2, ranges: {clip: [0.1, 0.2]}}", "p_threshold must be between 0 and 1"),
        ("search: {method: dpo, ranges: {beta: [0.1, 0.2]}}", "it is not among the methods"),
        (SEARCH + "    learning_rte: [1, 2]", "line 9: learning_rte is no setting of pref-ppo; did you mean learning_rate?"),
        (SEARCH + "    steps: [1, 2]", "line 9: steps is no setting of pref-ppo"),
        (SEARCH + "    clip: 0.1", "line 9: clip needs a range, {low: ..., high: ...}, or a list"),
        (SEARCH + "    clip: [0.1]", "nothing to choose among"),
        (SEARCH + "    clip: [0.1, much]", "clip can't be 'much'"),
        (SEARCH + "    clip: {low: 0.1}", "a range has low and high"),
        (SEARCH + "    clip: {low: 0.1, hi: 1}", "hi is no setting of a range; did you mean high?"),
        (SEARCH + "    queue: {low: , high: 5}", "low is a number"),
        (SEARCH + "    clip: {low: 0.3, high: 0.1}", "low must be below high, not 0.3 and 0.1"),
        (SEARCH + "    clip: {low: 0, high: 0.1, log: true}", "begins above 0, not at 0"),
        (SEARCH + "    clip: {low: .1, high: .2, log: 3}", "log is true or false"),
        (SEARCH + "    clip: {low: .1, high: .2, log: true, step: .1}", "log or a step, not both"),
        (SEARCH + "    clip: {low: .1, high: .2, step: .3}", "the step must be above 0"),
        (SEARCH + "    clip: {low: -1, high: 0.2}", "line 9: clip must be above 0, not -1"),
        (SEARCH + "    queries: {low: 1, high: 2}", "queries is no number; give a list"),
        (SEARCH + "    ensemble: [1, 3]", "queries disagreement needs an ensemble of 2 or more, not 1"),
        ("clip: 0.3\n" + SEARCH + "    clip: [0.1, 0.2]", "line 10: clip is set outside of the search, too"),
        ("clip: [0.3, 0.4]\n" + SEARCH + "    ensemble: [2, 3]", "belongs under `ranges`"),
        ("engine: slurm\n" + SEARCH + "    clip: [0.1, 0.2]", "line 7: a search asks what came of a trial before"),
        (SEARCH + "    clip: [0.1, 0.2]\n  maximise: score", "line 10: a score needs true-reward or sac among the methods"),
    ],
)  # fmt: skip
def test_a_search_is_refused_as_a_whole(search, text, words, tmp_path):
    with pytest.raises(UserError) as refused:
        search(BEFORE + text)
    assert words in str(refused.value) and str(tmp_path / "search.yaml") in str(refused.value)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("labels: 20", "labels: [20, 50]", "line 5: a search has one budget, not 20 50"),
        ("[pref-ppo]", "[pref-ppo, dpo]", "`method:` has to say whose settings are searched"),
        ("[pref-ppo]", "[pref-ppo, sac]", "line 4: sac does nothing beside the search of pref-ppo"),
        ("CartPole-v1", "[CartPole-v1, Acrobot-v1]", "line 3: returns of several environments have no mean"),
    ],
)  # fmt: skip
def test_studies_that_no_search_is_of(search, before, after, words):
    with pytest.raises(UserError) as refused:
        search(BEFORE.replace(before, after) + SEARCH + "    clip: [0.1, 0.2]\n")
    assert words in str(refused.value)


def test_a_setting_that_does_nothing_in_any_trial(search):
    text = BEFORE.replace("CartPole-v1", "Pendulum-v1").replace("pref-ppo", "pebble") + SEARCH
    with pytest.raises(UserError, match="line 9: surf_weight does nothing without surf"):
        search(text + "    surf_weight: [0.5, 2]\n")
    found = search(text + "    surf_weight: [0.5, 2]\n    surf: [false, true]\n")
    assert set(found.ranges) == {"surf", "surf_weight"}


def test_compare_leaves_a_search_to_tune(run, tmp_path):
    (tmp_path / "s.yaml").write_text(BEFORE + SEARCH + "    clip: [0.1, 0.2]\n")
    assert_one_sentence(
        run("prefloop.cli compare s.yaml"), "s.yaml, line 7: search is what prefloop tune reads"
    )
    assert not (tmp_path / "c").exists()


def test_without_optuna(run, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    (tmp_path / "s.yaml").write_text(BEFORE + SEARCH + "    clip: [0.1, 0.2]\n")
    assert_one_sentence(
        run("prefloop.cli tune s.yaml"),
        "prefloop tune needs optuna: pip install 'prefloop[tune]'",
    )
    assert not (tmp_path / "c").exists()
