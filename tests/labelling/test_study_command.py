"""`prefloop study`: from flags or a file to links, and what became of them."""

import csv
import hashlib
import os
import re
import stat
import uuid
from datetime import datetime, timedelta

import pytest
from calls import fill, lease, say
from conftest import ROOT, assert_one_sentence
from taking_part import Person

from prefloop.labelling import links
from prefloop.labelling.client.studies import StudyFile, read_study

pytest_plugins = ["teaching_fixtures"]
pytestmark = pytest.mark.usefixtures("known_server")

FILE = """\
title: Which pole is steadier?
runs: [{run}]
practice: {run}-practice
participants: 3
pairs: 2
block: 1
welcome: |
  # Welcome
comprehension:
  - question: What do you compare?
    options: [Speed, Steadiness]
    right: Steadiness
code: C1A2B3
return_address: https://app.example.org/done?cc={{code}}
"""


@pytest.fixture
def api(client):
    return client._http


@pytest.fixture
def name(api):
    """A study's name and its run's that no other test has; closed studies stay on the server."""
    name = f"s{uuid.uuid4().hex[:8]}"
    fill(api, name)
    return name


def test_links_from_flags(run, api, name, tmp_path):
    outcome = run(f"prefloop.cli study new {name} --run {name} --participants 2 --pairs 1 --address https://labels.example.org/")  # fmt: skip
    assert outcome.code == 0, outcome.err
    path = tmp_path / f"{name}-links.csv"
    assert f"2 links in {path.name}" in outcome.out
    assert "The server demands no tokens" in outcome.out
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["participant"] for row in rows] == ["01", "02"]
    start, _, token = rows[0]["link"].partition("#token=")
    assert start == "https://labels.example.org/"
    ada = Person(api, token)
    assert ada.enter()["ref"] == "01" and ada.label_all() == 1
    code = ada.post("/finish").json()["code"]
    shown = run(f"prefloop.cli study show {name}").out
    assert "participant  state" in shown and code in shown
    assert run(f"prefloop.cli study show {name} --csv table.csv").code == 0
    (first, second) = csv.DictReader((tmp_path / "table.csv").read_text().splitlines())
    assert first["state"] == "finished" and first["pairs"] == "1" and first["code"] == code
    assert second["state"] == "new" and second["started"] == ""
    assert name in run("prefloop.cli study list").out
    # nothing is overwritten, and the server does not know the links that were not written
    again = run(f"prefloop.cli study new other --run {name}")
    assert_one_sentence(again, f"part of the study {name}")
    assert not (tmp_path / "other-links.csv").exists()
    path.rename(tmp_path / "other-links.csv")
    assert_one_sentence(run(f"prefloop.cli study new other --run {name}"), "exists already")
    assert "01's link holds no longer" in run(f"prefloop.cli study revoke {name} 01").out
    assert ada.get().status_code == 403
    renewed = run(f"prefloop.cli study renew {name} 01").out
    assert Person(api, renewed.strip().rpartition("#token=")[2]).enter()["step"] == "thanks"
    added = run(f"prefloop.cli study add {name} --participants 1")
    assert f"1 link more in {name}-links-3.csv" in added.out
    assert "is closed" in run(f"prefloop.cli study close {name}").out
    assert len(lease(api, name)["queries"]) == 1
    assert run(f"prefloop.cli study reopen {name}").code == 0
    assert_one_sentence(run(f"prefloop.cli study revoke {name} --open_link"), "no open link")
    run(f"prefloop.cli study close {name}")


def test_a_study_from_a_file(run, api, name, tmp_path):
    fill(api, f"{name}-practice")
    say(api, lease(api, f"{name}-practice")["queries"][0])
    (tmp_path / "study.yaml").write_text(FILE.format(run=name))
    line = f"prefloop.cli study new {name} --file study.yaml --open_link --links open.csv"
    (tmp_path / "open.csv").write_text("another study's")
    assert_one_sentence(run(line), "open.csv exists already")
    assert api.get(f"/api/studies/{name}").status_code == 404
    (tmp_path / "open.csv").unlink()
    outcome = run(line)
    assert outcome.code == 0, outcome.err
    (link,) = [line for line in outcome.out.splitlines() if "#token=" in line]
    (row,) = csv.DictReader((tmp_path / "open.csv").read_text().splitlines())
    assert row == {"participant": "", "link": link} and "open.csv" in outcome.out
    if os.name != "nt":
        assert stat.S_IMODE((tmp_path / "open.csv").stat().st_mode) == 0o600
    assert "?PROLIFIC_PID={{%PROLIFIC_PID%}}#token=" in link
    door = Person(api, link.rpartition("=")[2])
    assert door.get().json()["title"] == "Which pole is steadier?"
    for _ in range(3):
        assert door.post("/join", token=links.new_token()).status_code == 204
    assert door.post("/join", token=links.new_token()).status_code == 409
    study = api.get(f"/api/studies/{name}").json()
    assert study["runs"] == {"pairs": [name], "practice": [f"{name}-practice"]}
    assert study["about"]["pairs"] == 2 and study["participants"][0]["code"] == "C1A2B3"
    assert "makes nobody a participant" in run(f"prefloop.cli study revoke {name} --open_link").out
    run(f"prefloop.cli study close {name}")


def test_the_annotators_token_goes_to_nobody(run, api, name, tmp_path):
    printed = "'https://labels.example.org/#token=annotators'"  # by prefloop label
    assert run(f"prefloop.cli study new {name} --run {name} --address {printed}").code == 0
    assert run(f"prefloop.cli study add {name} --participants 1 --address {printed}").code == 0
    renewed = run(f"prefloop.cli study renew {name} 01 --address {printed}").out
    written = "".join(path.read_text() for path in sorted(tmp_path.glob("*.csv"))) + renewed
    assert "annotators" not in written
    assert written.count("https://labels.example.org/#token=link_") == 3
    before = api.get(f"/api/studies/{name}").json()
    for action in ("new other --run r", f"add {name} --participants 1", f"renew {name} 01"):
        for address in (
            "labels.example.org",
            "ftp://x.org",
            "https://",
            "http://[x",
            "https://x.org/?a=b",
        ):
            outcome = run(f"prefloop.cli study {action} --address {address}")
            assert_one_sentence(outcome, f"--address {address} is no address such as")
    assert api.get(f"/api/studies/{name}").json() == before
    run(f"prefloop.cli study close {name}")


def test_an_open_link_says_how_many_it_lets_in(run, api, name):
    line = f"prefloop.cli study new {name} --run {name} --open_link"
    assert_one_sentence(run(line), "Give --participants")
    assert api.get(f"/api/studies/{name}").status_code == 404
    outcome = run(f"{line} --participants 5")
    assert "one link for at most 5 participants" in outcome.out
    assert "3 answers to give, and 5 participants would give 15" in outcome.out
    run(f"prefloop.cli study close {name}")


def test_the_table_says_when_and_to_what_somebody_consented(run, api, name, tmp_path):
    (tmp_path / "study.yaml").write_text(f"runs: [{name}]\nconsent: Read this.\n")
    run(f"prefloop.cli study new {name} --file study.yaml")
    (row,) = csv.DictReader((tmp_path / f"{name}-links.csv").read_text().splitlines())
    ada = Person(api, row["link"].partition("#token=")[2])
    digest = hashlib.sha256(b"Read this.").hexdigest()
    assert ada.enter()["digest"] == digest and ada.step("consent", digest=digest).is_success
    shown = run(f"prefloop.cli study show {name}").out
    assert "consented" in shown and digest[:12] in shown and digest not in shown
    run(f"prefloop.cli study show {name} --csv table.csv")
    (row,) = csv.DictReader((tmp_path / "table.csv").read_text().splitlines())
    assert row["consent"] == digest and row["finished"] == ""
    for key in ("started", "consented"):
        assert datetime.fromisoformat(row[key]).utcoffset() == timedelta(0)
    run(f"prefloop.cli study close {name}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("comprehension:\n  - {question: q, options: [Yes, No], right: Yes}", "line 3: comprehension.0.options.0: it must be text: write it in quotes, since YAML takes it for true"),
        ("title: 2026", "line 2: title: it must be text: write it in quotes, since YAML takes it for 2026"),
    ],
)  # fmt: skip
def test_words_that_yaml_takes_for_something_else(run, tmp_path, text, words):
    (tmp_path / "study.yaml").write_text(f"runs: [r]\n{text}\n")
    assert_one_sentence(run("prefloop.cli study new pilot --file study.yaml"), words)


def test_the_command_of_the_readme(run, api, tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^prefloop (study new .*)$", readme, re.MULTILINE)
    fill(api, "cartpole-01")
    outcome = run(f"prefloop.cli {line}")
    assert outcome.code == 0, outcome.err
    assert "would give" in outcome.out, "six pairs are not enough for twenty people"
    assert len((tmp_path / "steady-links.csv").read_text().splitlines()) == 21


def test_the_file_of_the_documentation(tmp_path):
    text = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "study.yaml").write_text(shown)
    study = read_study(str(tmp_path / "study.yaml"), {})
    assert (
        study.participants == 20 and study.comprehension[0].right in study.comprehension[0].options
    )
    table = text.partition("## study.yaml")[2].partition("## What is promised")[0]
    told = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))))
    assert told == set(StudyFile.model_fields)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("pairs: 2", "pears: 2", "study.yaml, line 5: pears: there is no such key; choose from"),
        ("pairs: 2", "pairs: many", "study.yaml, line 5: pairs: "),
        ("pairs: 2", "pairs: 0", "study.yaml, line 5: pairs: "),
        ("right: Steadiness", "right: Both", "line 10: comprehension.0: 'Both' is right and"),
        ("options:", "choices:", "line 11: comprehension.0.choices: there is no such key"),
        ("return_address: https:", "return_address: javascript:", "line 14: return_address: it must be"),
        ("participants: 3", "participants: 3\nparticipants: 4", "line 5: participants stands here for"),
        ("runs:", "#", "Which pairs are compared? Give --run"),
        ("title:", "title: [", "study.yaml, line"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_names_key_and_line(run, tmp_path, old, new, words):
    text = FILE.format(run="r")
    assert old in text
    (tmp_path / "study.yaml").write_text(text.replace(old, new, 1))
    outcome = run("prefloop.cli study new pilot --file study.yaml")
    assert_one_sentence(outcome)
    assert words in outcome.err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("new", "new takes NAME after it"),
        ("new pilot", "Which pairs are compared?"),
        ("new pilot --run r --pairs 0", "--pairs"),
        ("new pilot --run a/b", "--run"),
        ("new pilot --file gone.yaml", "Can't read gone.yaml"),
        ("new a/b --run r", "'a/b' won't do: a study is named by"),
        ("add pilot", "add needs --participants"),
        ("show pilot --pairs 3", "--pairs does nothing with show"),
        ("show gone", "There is no study gone"),
        ("revoke pilot", "revoke takes NAME and PARTICIPANT after it"),
        ("new pilot --run r --participants 0", "--participants must be between 1 and 2000"),
    ],
)
def test_a_mistake_on_the_command_line(run, line, words, tmp_path):
    assert_one_sentence(run(f"prefloop.cli study {line}"), words)
    assert list(tmp_path.iterdir()) == []
