"""Annotators whose labels are left out of training and agreement, and taken in again."""

import io
import json
import uuid
import zipfile

from calls import fill, lease, say
from conftest import assert_one_sentence

from prefloop.data import dataset
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.client.people import People
from prefloop.labelling.client.standing import StandingLabels

pytest_plugins = ["store_fixtures"]
RUN = "/api/runs/cartpole-01"


def labelled(api):
    """A run that ada and bob have labelled; they never agree."""
    fill(api, num_queries=3, annotators_per_query=2)
    for annotator in ("ada", "bob"):
        for _ in range(3):
            given = lease(api, annotator=annotator, session=str(uuid.uuid4()))["queries"][0]
            first_is_left = given["left"]["segment"] < given["right"]["segment"]
            choice = "left" if first_is_left == (annotator == "ada") else "right"
            assert (
                say(api, given, choice, seconds=1 if annotator == "ada" else 9).status_code == 200
            )


def annotators_of(api):
    archive = zipfile.ZipFile(io.BytesIO(api.get(f"{RUN}/export").content))
    lines = archive.read("preferences.jsonl").decode().splitlines()
    return {json.loads(line)["annotator"] for line in lines}


def test_what_is_left_out_and_taken_in_again(api):
    labelled(api)
    before = api.get(f"{RUN}/results").json()
    assert before["agreement"] == {"n": 3, "share": 0.0} and before["seconds"]["n"] == 6
    with LabellingClient(str(api.base_url)) as client:
        standing = StandingLabels(client, "cartpole-01")
        assert standing.read() and len(standing.events) == 6
        for _ in range(2):
            assert client.exclude("cartpole-01", "bob") == ["bob"]
        assert standing.read() and {event.annotator for event in standing.events} == {"ada"}
        assert len(standing.preferences) == 3 and not standing.read()
        results = api.get(f"{RUN}/results").json()
        assert results["agreement"]["n"] == 0 and results["pairs"] == []
        assert results["seconds"]["high"] == 1.0
        assert [one["excluded"] for one in results["annotators"]] == [False, True]
        assert annotators_of(api) == {"ada"}
        assert api.get(RUN).json()["counts"]["labels"] == 6, "nothing is deleted"
        assert client.exclude("cartpole-01", "bob", False) == []
        assert standing.read() and len(standing.events) == 6
        client.exclude("cartpole-01", "ada")
        client.exclude("cartpole-01", "bob")
        assert standing.read() and standing.preferences is None
    reply = api.get(f"{RUN}/export")
    assert reply.status_code == 400 and "no labels" in reply.json()["detail"]


def test_a_reward_is_of_who_is_left_and_the_results_page_hears_of_it(
    api, run, tmp_path, monkeypatch
):
    labelled(api)
    monkeypatch.setenv("PREFLOOP_SERVER", str(api.base_url))
    run("prefloop.cli runs exclude cartpole-01 bob")
    outcome = run("prefloop.cli reward --run cartpole-01 --reward-epochs 2 --held-out 0 --out r")
    assert outcome.code == 0 and "Note:" not in outcome.out, outcome.err
    assert api.get(f"{RUN}/results").json()["reward"]["labels"] == 3


def test_what_no_longer_stands_is_not_kept(api, tmp_path):
    labelled(api)
    with LabellingClient(str(api.base_url)) as client:
        people = People(client, "cartpole-01", tmp_path / "kept")
        assert len(people.current()) == len(dataset.read(tmp_path / "kept")) == 6
        for annotator in ("ada", "bob"):
            client.exclude("cartpole-01", annotator)
        assert people.current() is None
        assert len(dataset.read(tmp_path / "kept")) == 0
        client.exclude("cartpole-01", "ada", False)
        assert len(people.current()) == len(dataset.read(tmp_path / "kept")) == 3


def test_in_a_terminal(api, run, monkeypatch):
    labelled(api)
    monkeypatch.setenv("PREFLOOP_SERVER", str(api.base_url))
    out = run("prefloop.cli runs exclude cartpole-01 bob").out
    assert "nothing is learned from bob" in out and "in their place: 3 pairs want answers" in out
    assert "left out: bob" in run("prefloop.cli runs show cartpole-01").out
    assert "labels count again" in run("prefloop.cli runs include cartpole-01 bob").out
    assert "left out" not in run("prefloop.cli runs show cartpole-01").out
    assert_one_sentence(run("prefloop.cli runs exclude cartpole-01 eve"), "Nobody called eve has")
    assert_one_sentence(run("prefloop.cli runs exclude cartpole-01"), "NAME and ANNOTATOR")
