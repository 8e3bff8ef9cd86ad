"""The page and the tables of comparisons, and the command that makes one again."""

import re
import shlex
from dataclasses import replace

import pytest

from prefloop.command_line import parse_settings
from prefloop.envs.settings import EnvSettings
from prefloop.sweeps import report
from prefloop.sweeps.cells import Comparison
from prefloop.sweeps.methods import METHODS
from prefloop.sweeps.page import command
from prefloop.sweeps.results import Part, Results
from prefloop.sweeps.settings import CompareSettings
from prefloop.sweeps.tables import summarise
from prefloop.tuned import defaults_for

CARTPOLE = EnvSettings(env="CartPole-v0")
SHOWN = ("strong_return", "weak_return", "weak_high")


def result(method, labels, seed, mean, weak=50.0):
    return {
        "method": method, "labels": labels, "seed": seed, "mean_return": mean, "low": mean - 5,
        "high": mean + 5, "strong_return": 200.0, "weak_return": weak, "weak_high": weak + 5,
        "seconds": 1.0,
    }  # fmt: skip


def write_page(folder, settings, found):
    """The page of results that nobody ran, who did not act: the table as text."""
    rows = [{"task": str(settings.environment), **row, "score": None} for row in found]
    for row in rows:
        run = folder / "runs" / row["method"] / str(row["seed"])
        run.mkdir(parents=True, exist_ok=True)
        (run / "metrics.csv").write_text("epoch,loss\n0,1.0\n")
    runs = [folder / "runs" / row["method"] / str(row["seed"]) for row in rows]
    part = Part(Comparison(settings), {}, rows, runs, [], None, None)
    return report.write(Results(folder, [part], ()))


def test_the_table_by_hand():
    # the middle half of five runs is the three in the middle
    scores = [10.0, 100.0, 110.0, 120.0, 1000.0]
    table = summarise([result("dpo", 20, i, score) for i, score in enumerate(scores)])
    line = table[2]
    assert line["method"] == "dpo" and line["labels"] == "20" and line["seeds"] == "5"
    assert line["IQM of the return [95 %]"].startswith("110.0 [")
    assert line["lowest"] == "10.0"
    # four of five runs beat a weaker policy of 50
    assert line["P(improves on the weaker) [95 %]"].startswith("0.80 [")
    assert line["seeds above it, intervals apart"] == "4 of 5"
    # of methods without demonstrators there is nobody to improve on
    alone = [
        {**result("sac", 0, i, score), **dict.fromkeys(SHOWN)} for i, score in enumerate(scores)
    ]
    (line,) = summarise(alone)
    assert line["method"] == "sac" and line["IQM of the return [95 %]"].startswith("110.0 [")
    assert line["P(improves on the weaker) [95 %]"] == "-"
    mixed = summarise([*alone, result("dpo", 20, 0, 100.0)])
    assert [line["method"] for line in mixed][2:] == ["sac", "dpo"]
    assert mixed[2]["seeds above it, intervals apart"] == "0 of 5"


def test_the_command_line_is_given_again():
    settings = CompareSettings(
        environment=CARTPOLE, labels=(5, 8), segment_length=25, out="my folder"
    )
    text = command(settings)
    assert text == (
        "prefloop compare --labels 5 8 --segment_length 25 --out 'my folder' --env CartPole-v0"
    )
    settings = replace(settings, untuned=True, seeds=("0-2", "5"))
    assert parse_settings(CompareSettings, shlex.split(command(settings))[2:]) == settings


def test_few_seeds_are_warned_of_and_no_interval_passes_the_highest_return(tmp_path):
    few, enough = (
        [result("dpo", 20, i, score) for i, score in enumerate(scores)]
        for scores in ([150.0, 200.0, 195.0], [150.0, 200.0, 195.0, 199.0, 60.0])
    )
    settings = CompareSettings(
        environment=CARTPOLE, labels=(20,), methods=("dpo",), out=str(tmp_path)
    )
    page = tmp_path / "index.html"
    assert "fewer than 5 seeds" in write_page(tmp_path, settings, few)
    assert "fewer than 5 seeds" in page.read_text(encoding="utf-8")
    text = write_page(tmp_path, settings, enough)
    assert "fewer than 5" not in text + page.read_text(encoding="utf-8")
    assert ", 200.0]" in text


def test_a_page_about_methods_without_demonstrators(tmp_path):
    settings = CompareSettings(
        environment=CARTPOLE, labels=(20,), methods=("sac",), out=str(tmp_path)
    )
    rows = [{**result("sac", 0, i, 150.0), **dict.fromkeys(SHOWN)} for i in range(5)]
    assert "demonstrator" not in write_page(tmp_path, settings, rows)
    page = (tmp_path / "index.html").read_text(encoding="utf-8").partition("<details>")[0]
    assert "demonstrator" not in page and "5 runs" in page


def test_a_page_about_policies_whose_names_are_no_text(tmp_path):
    policies = ("caf\udce9.params", "b.params")
    settings = CompareSettings(
        environment=CARTPOLE, labels=(20,), methods=("dpo",), policies=policies, out=str(tmp_path)
    )
    write_page(tmp_path, settings, [result("dpo", 20, 0, 150.0)])
    assert "caf\\udce9.params" in (tmp_path / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("methods", "said", "unsaid"),
    [
        (
            ("dpo",),
            "The weaker demonstrator is what <em>dpo</em> started as.",
            ("of their own", "scratch", "Controls"),
        ),
        (
            ("pebble", "sac", "sac-constant"),
            "Questions of their own, as many as the budget, were asked by <em>pebble</em>. From scratch, with "
            "a network of their own, started <em>pebble</em>, <em>sac-constant</em> and <em>sac</em>.",
            ("<em>constant</em>", "flipped", "pref-ppo", "same labelled pairs", "started as"),
        ),
        (
            ("constant", "random", "sac-random"),
            "a reward of 1: <em>constant</em>; from an untrained network: <em>random</em> and <em>sac-random</em>",
            ("flipped",),
        ),
    ],
)
def test_a_page_explains_what_its_table_holds(tmp_path, methods, said, unsaid):
    # a method of which no run came to anything is not in the command, either
    settings = CompareSettings(
        environment=CARTPOLE, labels=(20,), methods=(*methods, "airl"), out=str(tmp_path)
    )
    found = [
        result(method, 20 if METHODS[method].uses_labels else 0, 0, 100.0) for method in methods
    ]
    write_page(tmp_path, settings, found)
    page = " ".join((tmp_path / "index.html").read_text(encoding="utf-8").split())
    page = page.partition("<details>")[0]
    assert said in page and "airl" not in page
    assert not [words for words in unsaid if words in page]


def test_no_labels_are_the_same_in_all_tables_so_that_one_filter_finds_them(tmp_path):
    settings = CompareSettings(
        environment=CARTPOLE, labels=(20,), methods=("dpo", "sac"), out=str(tmp_path)
    )
    found = [result("dpo", 20, 0, 100.0), result("sac", 0, 0, 200.0)]
    rows = [{"task": "CartPole-v0", **row, "score": row["mean_return"] / 200} for row in found]
    runs = [tmp_path / row["method"] for row in rows]
    for run in runs:
        run.mkdir()
        (run / "metrics.csv").write_text("epoch,loss\n0,1.0\n")
    report.write(
        Results(tmp_path, [Part(Comparison(settings), {}, rows, runs, [], 0.0, 200.0)], ())
    )
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    tables = re.findall(r"<table>\n<thead><tr>(.*?)</tr></thead>\n<tbody>(.*?)</tbody>", page, re.S)
    told = []
    for head, body in tables:
        place = re.findall(r"<th[^>]*>(.*?)</th>", head).index("labels")
        lines = [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in body.strip().splitlines()]
        told.append({line[place] for line in lines})
    assert told == [{"20", "-"}] * 3


def test_policies_that_are_of_no_method_with_results_stand_in_the_command(tmp_path):
    settings = CompareSettings(
        environment=CARTPOLE, labels=(20,), methods=("bc", "sac"), policies=("a.params", "b.params"),
        out=str(tmp_path),
    )  # fmt: skip
    rows = [{**result("sac", 0, i, 150.0), **dict.fromkeys(SHOWN)} for i in range(5)]
    write_page(tmp_path, settings, rows)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    again = page.partition("<pre>")[2].partition("</pre>")[0]
    # what refuses policies beside sac alone would refuse them in the command, too
    given = parse_settings(CompareSettings, shlex.split(again)[2:])
    assert given.methods == ("sac",) and not given.policies


def test_again_is_what_was_given(tmp_path):
    for repeats in (1, 2):
        line = f"--env dm_control/walker-walk-v0 --action_repeat {repeats} --methods sac --out c"
        settings = parse_settings(CompareSettings, line.split())

        def defaults(given):
            return defaults_for("compare", CompareSettings, given).arguments

        again = shlex.split(command(settings))[2:]
        assert parse_settings(CompareSettings, again, defaults) == settings
