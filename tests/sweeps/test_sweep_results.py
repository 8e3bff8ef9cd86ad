"""What a folder's runs come to, by runs that nobody ran."""

import csv
import html
import itertools
import json
import re
import shutil

import numpy as np
import pytest
from conftest import assert_one_sentence
from given import as_given

from prefloop import errors
from prefloop.errors import UserError
from prefloop.evaluation.statistics import iqm_interval
from prefloop.files import read_json, write_json
from prefloop.sweeps import pictures, tables
from prefloop.sweeps.merging import merge
from prefloop.sweeps.remembering import remember
from prefloop.sweeps.report import report
from prefloop.sweeps.results import collect
from prefloop.sweeps.settings import studies_in
from prefloop.sweeps.study import read_study
from prefloop.sweeps.tables import as_latex

STUDY = """
out: c
env: [CartPole-v0, Acrobot-v1]
methods: [dpo, ppo-rlhf, true-reward]
labels: [20, 50]
seeds: 0-2
ensemble: [1, 3]
reward_epochs: 50
"""
# of a seed: at random, by our agent on the true reward, and how far others come of the way between
RETURNS = {"CartPole-v0": (20.0, 200.0), "Acrobot-v1": (-500.0, -80.0)}
SHARES = {"dpo": 0.5, "ppo-rlhf": 0.8, "true-reward": 1.0}


def made(folder, text=STUDY, seconds=1.0, shares=SHARES):
    """A study in a folder, with results and learning curves."""
    file = folder.parent / f"{folder.name}.yaml"
    file.write_text(text)
    for comparison in read_study(as_given(file, out=str(folder))).comparisons:
        remember(comparison)
        low, high = RETURNS[comparison.settings.environment.env]
        for seed in comparison.settings.seed_numbers:
            place = comparison.folder / "random" / f"seed-{seed}"
            place.mkdir(parents=True)
            write_json(place / "result.json", {"mean_return": low + seed - 1})
        for cell in comparison.cells:
            place = comparison.folder / cell.folder
            place.mkdir(parents=True)
            share = shares[cell.method] + 0.01 * (cell.seed - 1) - 0.2 * bool(cell.changes[1:])
            found = low + share * (high - low)
            result = {
                "method": cell.method, "labels": cell.labels, "seed": cell.seed,
                "mean_return": found, "low": found - 1, "high": found + 1, "strong_return": high,
                "weak_return": low, "weak_high": low, "seconds": seconds,
            }  # fmt: skip
            write_json(place / "result.json", result)
            acts = "steps,true_return" if cell.method != "dpo" else "epoch,loss"
            (place / "metrics.csv").write_text(f"{acts}\n100,{low}\n200,{found}\n")
    (folder / "study.yaml").write_text(text)
    return folder


def rows_of(file):
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_every_setting_is_a_column_and_scores_are_per_task(tmp_path):
    root = made(tmp_path / "c")
    assert "| dpo |" in report(root)
    rows = rows_of(root / "results.csv")
    assert len(rows) == 2 * 3 * (2 + 2 * 2 + 1)
    (one,) = (
        r for r in rows
        if r["method"] == "ppo-rlhf" and r["ensemble"] == "1" and r["seed"] == "2"
        and r["labels"] == "20" and r["env"] == "Acrobot-v1"
    )  # fmt: skip
    # what is set of it, by whom ever, as it counts
    expected = {
        "reward_epochs": "50", "teacher": "oracle", "steps": "100000", "clip": "0.2",
        "evaluation_episodes": "100", "untuned": "False", "reward_hidden_sizes": "32 32",
    }  # fmt: skip
    assert {name: one[name] for name in expected} == expected
    # the IQM of three seeds of true-reward is their mean, a score of 1; of this one by hand
    assert float(one["score"]) == pytest.approx(0.8 + 0.01 - 0.2, abs=1e-6)
    (dpo,) = {r["ensemble"] for r in rows if r["method"] == "dpo"}
    assert dpo == ""  # it has none
    pandas = pytest.importorskip("pyarrow.parquet").read_table(root / "results.parquet")
    assert pandas.num_rows == len(rows) and set(pandas.column_names) == set(rows[0])
    assert pandas.schema.field("score").type == "double"
    # what is the same for all is no column of tables
    assert collect(root).varied == ("ensemble",)


def test_runs_of_an_earlier_version_have_the_settings_that_it_had(tmp_path):
    root = made(tmp_path / "c")
    for file in root.glob("*/compare.json"):
        facts = read_json(file)
        facts["by_method"]["true-reward"]["clip"] = 0.3
        write_json(file, facts)
    report(root)
    clips = {(r["method"], r["clip"]) for r in rows_of(root / "results.csv")}
    assert {("true-reward", "0.3"), ("ppo-rlhf", "0.2")} <= clips
    page = html.unescape((root / "index.html").read_text(encoding="utf-8"))
    (said, _) = re.findall(r"All settings: .*?<pre>(.*?)</pre>", page, re.DOTALL)
    said = json.loads(said)
    assert said["by_method"]["true-reward"]["clip"] == 0.3
    # and what the study sets is said, too
    assert said["changes"]["ppo-rlhf"] == [
        {"ensemble": 1, "reward_epochs": 50},
        {"reward_epochs": 50},
    ]


def test_each_of_many_settings_has_a_line_of_its_own():
    kinds = [("pref-ppo", (number,)) for number in range(20)]
    styles = pictures._styles(kinds, ("ensemble",))
    seen = {(style["color"], str(style["linestyle"])) for style in styles.values()}
    assert len(seen) == len(kinds)


def test_across_tasks(tmp_path):
    root = made(tmp_path / "c")
    report(root)
    found = {(r["method"], r["ensemble"], r["labels"]): r for r in rows_of(root / "aggregates.csv")}
    assert len(found) == 1 * 2 + 2 * 2 + 1
    dpo = found["dpo", "", "20"]
    assert dpo["tasks"] == "2" and dpo["runs"] == "6"
    assert float(dpo["iqm"]) == pytest.approx(0.5) and float(
        dpo["optimality_gap"]
    ) == pytest.approx(0.5)
    assert float(dpo["iqm_low"]) < 0.5 < float(dpo["iqm_high"])
    pairs = {(r["better"], r["than"], r["labels"]): r for r in rows_of(root / "improvements.csv")}
    share = pairs["dpo", "ppo-rlhf, ensemble 3", "20"]
    assert float(share["probability"]) == 0.0 and float(share["probability_high"]) > 0.2
    # another budget is another question; what uses no labels is beside all
    assert ("dpo", "true-reward", "50") in pairs and len(pairs) == 2 * (3 + 3)
    levels = [r for r in rows_of(root / "profiles.csv") if r["method"] == "dpo"]
    above = {float(r["score"]): float(r["share"]) for r in levels if r["labels"] == "20"}
    assert above[0.4] == 1.0 and above[0.525] == 0.0
    for name in ("profiles.png", "CartPole-v0-*/learning_curves.png"):
        (picture,) = root.glob(name)
        assert picture.read_bytes().startswith(b"\x89PNG")
    curves = rows_of(root / "curves.csv")
    # each budget has its own; what does not act has none
    assert {(r["method"], r["labels"]) for r in curves} == {
        ("ppo-rlhf", "20"), ("ppo-rlhf", "50"), ("true-reward", "0"),
    }  # fmt: skip
    (last,) = (
        r for r in curves
        if r["steps"] == "200" and r["method"] == "true-reward" and r["task"] == "CartPole-v0"
    )  # fmt: skip
    expected = iqm_interval(np.array([0.99, 1.0, 1.01]) * 180 + 20, (0.0, 200.0))
    assert float(last["iqm"]) == pytest.approx(expected.value)
    assert float(last["low"]) == pytest.approx(expected.low)


def test_more_pairs_than_anybody_reads_are_left_out(tmp_path, capsys, monkeypatch):
    root = made(tmp_path / "c", STUDY.replace("[CartPole-v0, Acrobot-v1]", "CartPole-v0"))
    monkeypatch.setattr(tables, "MOST_PAIRS", 12)
    assert len(tables.improvements(collect(root))) == 12
    monkeypatch.setattr(tables, "MOST_PAIRS", 11)
    (root / "improvements.csv").write_text("of a smaller study\n")
    report(root)
    assert "7 lines have 12 pairs of the same budget, more than 11" in capsys.readouterr().err
    assert not (root / "improvements.csv").exists()


def test_without_an_agent_on_the_true_reward_there_are_no_scores(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(errors, "_noted", set())  # what was said before would not be said again
    root = made(tmp_path / "c", STUDY.replace(", true-reward", ""))
    report(root)
    assert {row["score"] for row in rows_of(root / "results.csv")} == {""}
    assert not (root / "aggregates.csv").exists()
    assert "they need true-reward or sac among the methods" in capsys.readouterr().err
    report(made(tmp_path / "d", shares=dict.fromkeys(SHARES, -0.1)))
    assert "does no better than actions at random" in capsys.readouterr().err
    root = made(tmp_path / "e")
    for place in root.glob("*/random"):
        shutil.rmtree(place)
    report(root)
    assert "what actions at random reach is not known" in capsys.readouterr().err


def test_demonstrators_have_the_settings_of_their_comparison(tmp_path):
    root = made(tmp_path / "c", STUDY + "demonstrator_steps: [20000, 100000]\n")
    report(root)
    lines = [x for x in (root / "table.tex").read_text().splitlines() if "weaker" in x]
    assert [line.split(" & ")[1:3] for line in lines] == [["20000", ""], ["100000", ""]]


def test_a_method_that_makes_the_same_of_two_comparisons_is_counted_once_in_each(tmp_path):
    text = """
env: CartPole-v0
methods: [ppo-rlhf, pref-ppo, true-reward]
labels: 20
seeds: 0-4
segment_length: [full, 50]
"""
    root = made(tmp_path / "c", text, shares={**SHARES, "pref-ppo": 0.6})
    report(root)
    # pref-ppo asks in segments of 50 steps in both
    asked = {
        r["segment_length"] for r in rows_of(root / "results.csv") if r["method"] == "pref-ppo"
    }
    assert asked == {"50"}
    found = rows_of(root / "aggregates.csv")
    methods = ("ppo-rlhf", "pref-ppo", "true-reward")
    told = {(r["method"], r["segment_length"]): r["runs"] for r in found}
    assert told == {(method, length): "5" for method in methods for length in ("", "50")}
    profiles = {(r["method"], r["segment_length"]) for r in rows_of(root / "profiles.csv")}
    curves = {(r["method"], r["segment_length"]) for r in rows_of(root / "curves.csv")}
    assert profiles == curves == told.keys()
    lines = [x.strip().split(" & ")[:3] for x in (root / "table.tex").read_text().splitlines()]
    assert ["pref-ppo", "", "20"] in lines and ["pref-ppo", "50", "20"] in lines


def test_tables_for_print(tmp_path):
    root = made(tmp_path / "c")
    report(root)
    text = (root / "table.tex").read_text()
    body = re.search(r"\\midrule\n(.*)\\bottomrule", text, re.S)[1]
    lines = body.strip().splitlines()
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", text)[1]
    # method, ensemble, labels, two tasks, score, gap; demonstrators besides the seven lines
    assert columns == "lrrrrrr" and len(lines) == 9
    assert all(line.count(" & ") == 6 and line.endswith(r" \\") for line in lines)
    assert as_latex([{"method": "a_b", "x": "50 %"}], "R&D").count(r"a\_b & 50 \% \\") == 1
    negative = as_latex([{"method": "CartPole-v0", "x": "-9.1 [-9.5, 1e-2]"}], "")
    assert negative.count(r"CartPole-v0 & $-$9.1 [$-$9.5, 1e-2] \\") == 1


def test_the_page_names_what_failed_and_has_a_filter(tmp_path):
    root = made(tmp_path / "c")
    (folder,) = root.glob("CartPole*/runs/dpo/labels-20/seed-1")
    (folder / "result.json").unlink()
    write_json(folder / "failed.json", {"reason": "It rained."})
    report(root)
    page = (root / "index.html").read_text(encoding="utf-8")
    assert "It rained." in page and "runs/dpo/labels-20/seed-1" in page
    # each picture says what it is about, for the filters
    abouts = [
        json.loads(t.replace("&quot;", '"')) for t in re.findall(r'data-about="([^"]*)"', page)
    ]
    assert [about["task"] for about in abouts] == ["Acrobot-v1", "CartPole-v0"]


def test_a_task_of_which_every_run_failed_does_not_hide_the_others(tmp_path):
    root = made(tmp_path / "c")
    for file in root.glob("CartPole*/runs/**/result.json"):
        write_json(file.with_name("failed.json"), {"reason": "It rained."})
        file.unlink()
    text = report(root)
    assert "| dpo |" in text and "CartPole-v0 (" in text and "Nothing came of it." in text
    page = (root / "index.html").read_text(encoding="utf-8")
    assert page.count("It rained.") == 3 * (2 + 2 * 2 + 1)
    # nor where it is merged
    merge([root], tmp_path / "d")
    assert "It rained." in (tmp_path / "d" / "index.html").read_text(encoding="utf-8")


def test_what_two_machines_ran_is_one_study(tmp_path):
    ours = made(tmp_path / "a", STUDY.replace("0-2", "0-1"))
    theirs = made(
        tmp_path / "b", STUDY.replace("0-2", "1-2").replace("[1, 3]", "[3, 5]"), seconds=9
    )
    merge([ours, theirs], tmp_path / "c")
    rows = rows_of(tmp_path / "c" / "results.csv")
    # what both ran stands once; what one had alone is there
    of = [(r["env"], r["method"], r["labels"], r["ensemble"], r["seed"]) for r in rows]
    assert len(set(of)) == len(of) == 2 * (3 * (2 + 1) + 2 * (2 + 3 + 2))
    # each study can be given again
    merged = [file.read_text() for file in studies_in(tmp_path / "c")]
    assert merged == [(folder / "study.yaml").read_text() for folder in (ours, theirs)]
    page = (tmp_path / "c" / "index.html").read_text(encoding="utf-8")
    for name in ("study.yaml", "study-2.yaml"):
        assert f"prefloop compare {name} --out {tmp_path / 'c'}\n" in page
    # and it can be gone on with, wherever it was put together
    assert not any(".tmp" in file.read_text() for file in tmp_path.glob("c/*/compare.json"))
    grown = read_study(as_given(tmp_path / "a.yaml", out=str(tmp_path / "c"))).comparisons
    assert all(len(remember(c).settings.seed_numbers) == 3 for c in grown)
    with pytest.raises(UserError, match="holds something already"):
        merge([ours, theirs], tmp_path / "c")


def test_demonstrators_that_came_later_are_those_of_all_runs_of_their_seed(tmp_path):
    text = "{env: CartPole-v0, methods: [constant, true-reward], labels: 20, seeds: 0-2}"
    shares = {"constant": 0.7, "true-reward": 1.0}
    ours, theirs = (made(tmp_path / out, text, shares=shares) for out in "ab")
    shown = ("strong_return", "weak_return", "weak_high")
    for file in ours.glob("*/runs/*/*/*/result.json"):
        result = read_json(file)
        if "constant" in file.parts:  # of an earlier version, and done before they were there
            result |= dict.fromkeys(shown)
        else:
            result = {name: value for name, value in result.items() if name not in shown}
        write_json(file, result)
    for root, seed in itertools.product((ours, theirs), range(3)):
        (folder,) = root.glob("Cart*")
        place = folder / "seeds" / f"seed-{seed}"
        place.mkdir(parents=True)
        weak = {"mean_return": 20.0 + seed, "low": 1.0, "high": 40.0}
        strong = {"mean_return": 200.0, "low": 199.0, "high": 200.0}
        write_json(place / "prepared.json", {"strong": strong, "weak": weak})
    merge([ours, theirs], tmp_path / "c")
    report(ours)
    for root in (ours, tmp_path / "c"):
        rows = rows_of(root / "results.csv")
        first = ["task", "method", "labels", "seed", "mean_return", "low", "high", *shown]
        assert list(rows[0])[:12] == [*first, "seconds", "score"]
        assert [r["weak_return"] for r in rows] == ["20.0", "21.0", "22.0"] * 2
        assert {(r["strong_return"], r["weak_high"]) for r in rows} == {("200.0", "40.0")}
        assert re.search(r"\| constant .* \| 3 of 3 \|", (root / "table.md").read_text())


def test_what_is_not_the_same_is_not_merged(tmp_path, run):
    ours = made(tmp_path / "a")
    other = made(tmp_path / "b", shares={**SHARES, "dpo": 0.6})
    with pytest.raises(UserError, match=r"another result of dpo with 20 labels, seed 0"):
        merge([ours, other], tmp_path / "c")
    with pytest.raises(UserError, match="a is given twice"):
        merge([ours, tmp_path / "b" / ".." / "a"], tmp_path / "c")
    assert not (tmp_path / "c").exists()
    # comparisons by flags, in other environments
    one, two = (next(ours.glob(name)) for name in ("Cart*", "Acro*"))
    assert_one_sentence(
        run(f"prefloop.cli compare merge {one} {two} --out c"),
        "differ: env 'CartPole-v0', not 'Acrobot-v1'",
    )
    assert_one_sentence(run(f"prefloop.cli compare merge {ours} {one} --out c"), "don't merge")
    damaged = tmp_path / "d"
    shutil.copytree(one, damaged)
    (damaged / "compare.json").write_text('{"settings": 5}')
    assert_one_sentence(run(f"prefloop.cli compare merge {one} {damaged} --out c"), "is damaged")
    assert not (tmp_path / "c").exists()
