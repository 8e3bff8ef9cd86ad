from collections import Counter
from pathlib import Path

import pytest
from conftest import assert_one_sentence
from given import as_given

from prefloop import tuned
from prefloop.commands import sac
from prefloop.errors import UserError
from prefloop.files import claimed_directory
from prefloop.sweeps import compare
from prefloop.sweeps import study as study_file
from prefloop.sweeps.cells import Cell, name_of
from prefloop.sweeps.study import read_study

SMALL = """
out: c
env: [CartPole-v0, Acrobot-v1]
methods: [dpo, ppo-rlhf, constant]
labels: [20, 50]
seeds: [0-1, 7]
"""


@pytest.fixture
def study(tmp_path):
    def read(text, **given):
        file = tmp_path / "study.yaml"
        file.write_text(text)
        return read_study(as_given(file, **given))

    return read


def test_a_grid_is_every_combination(study):
    found = study(SMALL + "ensemble: [1, 3]\nweaker: [0.25, 0.5]\nprocesses: 2\n")
    assert found.out == "c" and found.processes == 2
    # two environments, each with two kinds of demonstrators
    assert [c.settings.environment.env for c in found.comparisons] == [
        "CartPole-v0", "CartPole-v0", "Acrobot-v1", "Acrobot-v1",
    ]  # fmt: skip
    assert [c.settings.weaker for c in found.comparisons] == [0.25, 0.5] * 2
    assert len({c.folder for c in found.comparisons}) == 4
    cells = found.comparisons[0].cells
    # what has no ensemble is run once; an ensemble of 3 is the usual one
    assert [cell for cell in cells if cell.method == "dpo"] == [
        Cell("dpo", labels, seed) for labels in (20, 50) for seed in (0, 1, 7)
    ]
    assert {cell.changes for cell in cells if cell.method == "ppo-rlhf"} == {
        (), (("ensemble", 1),),
    }  # fmt: skip
    assert len([cell for cell in cells if cell.method == "constant"]) == 3
    assert len({cell.folder for cell in cells}) == len(cells)


def test_a_grown_grid_holds_what_it_was(study):
    """A setting that is named later on leaves what was run without it where it is."""

    def places(text):
        return {c.folder / cell.folder for c in study(text).comparisons for cell in c.cells}

    before = places(SMALL)
    for more in (
        "ensemble: [1, 3]\n",
        "weaker: [0.25, 0.5]\n",
        "teacher: [oracle, mistake]\n",
        "dpo: {beta: [0.01, 0.1]}\n",
        "untuned: [false, true]\n",
    ):
        assert before < places(SMALL + more), more
    assert before < places(SMALL.replace("50]", "50, 70]"))


def test_settings_of_one_method_and_of_one_environment(study):
    found = study(
        """
env: [{env: CartPole-v0, horizon: [50, 100]}, CartPole-v1]
methods: [ppo-rlhf, flipped]
reward_hidden_sizes: [16, 16]
flipped: {reward_hidden_sizes: [[8], [8, 8]], learning_rate: 1e-4}
""",
        out="elsewhere",
        device="cuda",
    )
    assert [c.settings.environment.horizon for c in found.comparisons] == [50, 100, None]
    assert found.comparisons[0].folder.parent.name == "elsewhere"
    assert found.comparisons[0].settings.device == "cuda"
    # what stands under a method's name counts for it
    assert found.comparisons[0].changes == {
        "ppo-rlhf": [(("reward_hidden_sizes", (16, 16)),)],
        "flipped": [
            (("learning_rate", 1e-4), ("reward_hidden_sizes", (8,))),
            (("learning_rate", 1e-4), ("reward_hidden_sizes", (8, 8))),
        ],
    }


def test_what_does_nothing_in_one_corner_of_a_grid_is_left_out_there(study):
    text = (
        "out: c\nenv: Pendulum-v1\nmethods: [pebble]\nsurf: [false, true]\nsurf_weight: [0.5, 1]\n"
    )
    (one,) = study(text).comparisons
    assert one.changes["pebble"] == [
        (), (("surf", True), ("surf_weight", 0.5)), (("surf", True),),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("labels: [20, 50]\nensembel: 3", "line 7: ensembel is no setting of a comparison or of any method; did you mean ensemble?"),
        ("tau: 0.01", "line 7: tau is a setting of pebble"),
        ("dpo: {beta: 0.1, ensemble: 3}", "line 7: ensemble is no setting of dpo."),
        ("dpo:\n  beta: [0.1, much]", "line 8: beta can't be 'much'"),
        ("dpo:\n  steps: 3", "line 8: steps is the same for all methods; it does not stand under dpo"),
        ("dpo: 3", "line 7: `setting: value` lines are needed"),
        ("bc: {bc_epochs: 3}", "line 7: bc is not among the methods"),
        ("weaker: [0.5, 1.5]", "line 7: weaker must be below 1, not 1.5"),
        ("teacher: [oracle, aunt]", "line 7: teacher can't be 'aunt'; choose from oracle"),
        ("ensemble: [3, 0]", "line 7: ensemble must be above 0, not 0"),
        ("steps: []", "line 7: steps has no value"),
        ("segments: 5", "line 7: segments does nothing without segment_length"),
        ("retry_failed: true", "line 7: retry_failed is a flag of the command line alone"),
        ("env: CartPole-v1", "line 7: env stands here for the second time"),
        ("methods: [dpo]", "line 7: methods stands here for the second time"),
    ],
)  # fmt: skip
def test_a_study_is_refused_as_a_whole(study, text, words, tmp_path):
    with pytest.raises(UserError) as refused:
        study(SMALL + text.replace("labels: [20, 50]\n", ""))
    assert words in str(refused.value) and str(tmp_path / "study.yaml") in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("env: CartPole-v0\nmethods: [dpo]", "says no folder to write to"),
        ("out: c\nmethods: [dpo]", "names no env"),
        ("out: c\nenv: []\nmethods: [dpo]", "line 2: env names none"),
        ("out: c\nenv: [{horizon: 5}]\nmethods: [dpo]", "line 2: an environment needs its env"),
        ("out: c\nenv:\n- env: CartPole-v0\n  steps: 5\nmethods: [dpo]", "line 4: steps is no setting of an environment"),
        ("out: c\nenv: CartPole-v0\nmethods: [dpo, bogus]", "line 3: methods can't be 'bogus'; choose from dpo"),
        ("out: c\nenv: CartPole-v0\nmethods: [dpo]\nseeds: 5-1", "line 4: seeds 5-1: a range runs upwards"),
        ("out: c\nenv: CartPole-v0\nmethods: [dpo]\nlabels: [5, x]", "line 4: labels can't be 'x'"),
        ("out: c\nenv: CartPole-v0\nmethods: [dpo]\nseeds: 0-9999\nbeta: [1, 2, 3, 4, 5, 6]", "180000 runs, more than 100000"),
        ("- a list", "`key: value` lines are needed"),
        ("out: c\nenv: &all [*all]\nmethods: [dpo]", "nested too deeply"),
    ],
)  # fmt: skip
def test_a_study_that_is_none(study, text, words):
    with pytest.raises(UserError) as refused:
        study(text)
    assert words in str(refused.value)


def test_a_name_of_a_folder_is_one_on_every_system():
    assert name_of([("ensemble", 1), ("queries", "uniform")]) == "ensemble-1,queries-uniform"
    assert name_of([("reward_hidden_sizes", (8, 8))]) == "reward_hidden_sizes-8x8"
    strange = [name_of([("encoder", text)]) for text in ("a/b", "a:b")]
    assert len(set(strange)) == 2 and not any(letter in "".join(strange) for letter in "/:")
    assert len(name_of([("x", "y" * 500)])) <= 80


def test_a_grid_is_read_without_reading_the_tuned_file_at_each_place(study, monkeypatch):
    counts = Counter()

    def counted(module, name):
        function = getattr(module, name)

        def count(*given):
            counts[name] += 1
            return function(*given)

        monkeypatch.setattr(module, name, count)

    counted(tuned, "read_entries")
    counted(study_file, "usual")
    counted(study_file, "changes_at")
    text = SMALL.replace("[CartPole-v0, Acrobot-v1]", "HalfCheetah-v5")
    text = text.replace("[dpo, ppo-rlhf, constant]", "[pebble, sac]")
    places = ", ".join(str(i) for i in range(1, 21))
    (found,) = study(f"{text}reward_epochs: [{places}]\nensemble: [2, 3]\n").comparisons
    assert len(found.changes["pebble"]) == 40 and counts["changes_at"] == 41
    # for compare, and each of the two methods; fewer where they were read before
    assert counts["usual"] == 2 and counts["read_entries"] <= 8


def test_a_tuned_file_that_was_written_again_is_read_again(tmp_path):
    file = tmp_path / "mine.yaml"
    for text, expected in (
        ("tau: 0.01", {"tau": 0.01}),
        ("tau: 0.02\n  batch_size: 64", {"tau": 0.02, "batch_size": 64}),
    ):
        file.write_text(f"sac:\n  {text}\n")
        found = tuned.read(file, "sac", sac.Settings)
        assert found == expected
        found["tau"] = 5  # whoever is given it may change it
        assert tuned.read(file, "sac", sac.Settings) == expected


def test_a_home_in_a_file_is_that_of_the_user(study, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("USERPROFILE", "/home/ada")
    found = study(
        "out: ~/c\nenv: CartPole-v0\nmethods: dpo\npolicies: [~/strong.params, weak~.params]\n"
    )
    home = Path("/home/ada")
    assert Path(found.out) == home / "c"
    (comparison,) = found.comparisons
    assert comparison.folder.parent == home / "c"
    assert comparison.settings.policies == (str(home / "strong.params"), "weak~.params")
    found = study("out: c\nenv: CartPole-v0\nmethods: dpo\npolicies: [[~/a, ~/b], [~/c, ~/d]]\n")
    assert [c.settings.policies for c in found.comparisons] == [
        (str(home / first), str(home / second)) for first, second in ("ab", "cd")
    ]


def test_forms_of_the_command(run, tmp_path):
    assert_one_sentence(run("prefloop.cli compare none.yaml"), "none.yaml")
    (tmp_path / "study.yaml").write_text(SMALL)
    assert_one_sentence(
        run("prefloop.cli compare study.yaml --methods dpo"), "there is no flag --methods"
    )
    assert_one_sentence(run("prefloop.cli compare merge a --out b"), "merge takes two folders")
    assert_one_sentence(
        run("prefloop.cli compare merge a b --out d"), "a holds nothing that prefloop compare wrote"
    )
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.txt").write_text("chapter one")
    assert_one_sentence(run("prefloop.cli compare study.yaml"), "something else than a study")
    outcome = run("prefloop.cli compare study.yaml --out d --dry-run")
    assert outcome.code == 0 and "30 runs, 300 labels; how long" in outcome.out
    assert not (tmp_path / "d").exists()


def test_two_commands_in_one_folder(run, tmp_path):
    (tmp_path / "study.yaml").write_text(SMALL)
    with claimed_directory(tmp_path / "c"):
        assert_one_sentence(
            run("prefloop.cli compare study.yaml"), "Another process is writing to c; wait for it"
        )
    assert not (tmp_path / "c" / "study.yaml").exists()


def test_a_file_that_is_changed_while_it_is_run(run, tmp_path, monkeypatch):
    file = tmp_path / "study.yaml"
    file.write_text(SMALL)
    # whatever is done takes time, in which somebody writes
    monkeypatch.setattr(compare, "do_all", lambda *given: file.write_text("methods: [bogus]"))
    outcome = run("prefloop.cli compare study.yaml")
    assert "study.yaml was changed meanwhile" in outcome.err and "Traceback" not in outcome.err
    assert (tmp_path / "c" / "study.yaml").read_text() == SMALL
