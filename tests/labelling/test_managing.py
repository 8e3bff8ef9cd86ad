"""What can be done with runs, and the commands of the README."""

import json
import re
import time
import uuid

import pytest
from conftest import ROOT, assert_one_sentence
from teaching import COLLECT, SMALL, labelling

from prefloop.data import dataset

pytest_plugins = ["teaching_fixtures"]
pytestmark = pytest.mark.usefixtures("known_server")


def test_several_people_and_their_repeats_are_taken_out_and_in(run, client, tmp_path):
    run(f"{COLLECT} --pairs 8 --annotators-per-query 2 --repeats 0.25")
    for who in ("ada", "bob"):
        session = uuid.uuid4()
        while given := client.lease("cartpole-01", who, session, 1).queries:
            client.answer(uuid.uuid4(), given[0].lease, "left")
    outcome = run("prefloop.cli runs export cartpole-01 prefs")
    assert "16 answers (0 ties), 0 skips" in outcome.out
    assert len(dataset.read(tmp_path / "prefs")) == 16
    repeats = (tmp_path / "prefs" / "repeats.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["annotator"] for line in repeats) == ["ada", "ada", "bob", "bob"]
    assert "16 labels added, 0 were there" in run("prefloop.cli runs import prefs copy").out
    assert "0 labels added, 16 were there" in run("prefloop.cli runs import prefs copy").out
    before, after = client.results("cartpole-01"), client.results("copy")
    assert [who.annotator for who in after.annotators] == ["ada", "bob"]
    assert after.agreement == before.agreement and after.alpha == before.alpha
    told = "Krippendorff's alpha" in run("prefloop.cli runs show copy").out
    # sides are drawn: both may have said one thing alone
    assert told == (before.alpha.value is not None)
    assert client.run("copy").counts.left == 0


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("{}/foo", "/foo is no labelling server"),
        ("https://{}", "speaks no TLS; is its address http://"),
        ("{}/#/label/cp", ""),  # the page's own address
    ],
)
def test_addresses_that_are_nearly_right(run, server, address, words):
    url = address.format(server.url if "{}/" in address else server.url.removeprefix("http://"))
    outcome = run(f"prefloop.cli runs list --server {url}")
    if words:
        assert_one_sentence(outcome, words)
    else:
        assert outcome.code == 0, outcome.err


def test_what_can_be_done_with_runs(run, client, tmp_path, monkeypatch):
    assert "There are no runs yet" in run("prefloop.cli runs list").out
    run(f"{COLLECT} --pairs 6")
    with labelling(client, "cartpole-01"):
        while client.run("cartpole-01").counts.left:
            time.sleep(0.05)
    assert "cartpole-01  CartPole-v0" in run("prefloop.cli runs list").out
    facts = run("prefloop.cli runs show cartpole-01").out
    assert "6 queries: 6 answered" in facts
    assert "6 labels of 1 annotator\n1 annotator a query" in facts
    assert run("prefloop.cli runs export cartpole-01 prefs").code == 0
    preferences = dataset.read(tmp_path / "prefs")
    line = json.loads((tmp_path / "prefs" / "preferences.jsonl").read_text().splitlines()[0])
    assert len(preferences) == 6 and line["annotator"] == "ada"
    assert_one_sentence(run("prefloop.cli runs export cartpole-01 prefs"), "prefs exists already")
    assert "6 labels added, 0 were there" in run("prefloop.cli runs import prefs copy").out
    assert "0 labels added, 6 were there" in run("prefloop.cli runs import prefs copy").out
    assert client.run("copy").counts.answered == 6
    assert run("prefloop.cli runs rename copy pilot").code == 0
    assert_one_sentence(run("prefloop.cli runs rename pilot cartpole-01"), "cartpole-01")
    assert_one_sentence(run("prefloop.cli runs rename pilot pilot"), "pilot is its name already")
    assert "6 queries are asked again" in run("prefloop.cli runs label-again pilot").out
    assert client.run("pilot").counts.answered == 0
    monkeypatch.setattr("builtins.input", lambda question: "no")
    assert_one_sentence(run("prefloop.cli runs delete pilot"), "pilot was not deleted")
    monkeypatch.setattr("builtins.input", lambda question: "pilot")
    assert run("prefloop.cli runs delete pilot").code == 0
    assert run("prefloop.cli runs delete cartpole-01 --yes").code == 0
    assert client.runs() == []
    assert_one_sentence(run("prefloop.cli runs show"), "show takes NAME after it")
    assert_one_sentence(run("prefloop.cli runs delete gone"), "no run gone")


def test_runs_are_put_away_and_have_settings_of_their_own(run, client, monkeypatch):
    run(f"{COLLECT} --pairs 2")
    assert "cartpole-01 is archived" in run("prefloop.cli runs archive cartpole-01").out
    assert run("prefloop.cli runs list").out.rstrip().endswith("  archived")
    assert "archived" in run("prefloop.cli runs show cartpole-01").out
    assert client.run("cartpole-01").archived
    assert "offered" in run("prefloop.cli runs bring-back cartpole-01").out
    assert not client.run("cartpole-01").archived
    set_own = "prefloop.cli runs set cartpole-01"
    assert "playback_speed is 0.5." in run(f"{set_own} playback_speed 0.5").out
    assert "pairs_ahead is 2." in run(f"{set_own} pairs_ahead 2").out
    assert (
        "playback_speed: 0.5, for this run alone" in run("prefloop.cli runs show cartpole-01").out
    )
    outcome = run(f"{set_own} playback_speed default")
    assert "playback_speed is 1, as labelling.yaml says" in outcome.out
    assert client.run("cartpole-01").own_settings == {"pairs_ahead": 2}
    for words, sentence in [
        ("playback_speed fast", "playback_speed must be a number or default, not fast"),
        ("playback_speed 99", "playback_speed must be between 0.1 and 10"),
        ("playback_speed nan", "playback_speed must be a number or default, not nan"),
        ("pairs_ahead 1.5", "pairs_ahead"),
        ("allow_ties 0", "allow_ties can't be set for one run; choose from frames_per_second"),
        ("pairs_ahead", "set takes NAME and KEY and VALUE after it"),
    ]:
        assert_one_sentence(run(f"{set_own} {words}"), sentence)
    told = {"trainer": str(uuid.UUID(int=1)), "phase": "learning", "steps": 5400}
    client.put_training("cartpole-01", told)
    assert "learning, step 5,400" in run("prefloop.cli runs list").out
    assert_one_sentence(run("prefloop.cli runs archive cartpole-01"), "A program trains on the run")
    client.put_training("cartpole-01", told)
    assert_one_sentence(run("prefloop.cli runs delete cartpole-01 --yes"), "A program trains on")
    asked = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "cartpole-01")
    client.put_training("cartpole-01", told)
    assert run("prefloop.cli runs delete cartpole-01").code == 0
    assert asked[0].startswith(
        "A program trains on it now (learning, step 5,400). Delete cartpole-01"
    )


def test_the_commands_of_the_readme(run, client, tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    serve, collect, train = re.findall(
        r"^prefloop (label|collect[^#\n]*|pref-ppo.*human.*?)\s*(?:#.*)?$", readme, re.MULTILINE
    )
    assert serve == "label"  # which runs already
    assert run(f"prefloop.cli {collect} --pairs 6 --episodes 10").code == 0
    with labelling(client, "cartpole-01"):
        assert run(f"prefloop.cli {train} --labels 8 {SMALL}").code == 0
    assert (tmp_path / "cartpole-01" / "final_policy.params").exists()
