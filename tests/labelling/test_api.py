import io
import json
import re
import uuid
import zipfile

import numpy as np
import pytest
from calls import ADA, RUN, fill, lease, lease_reply, say
from conftest import ROOT
from made_up import random_segments
from people import SCHEMA, make_segment

import prefloop
from prefloop.data import dataset
from prefloop.labelling.arrays import to_archive
from prefloop.labelling.limits import MAX_TRACE
from prefloop.labelling.server.addresses import WrongTokens
from prefloop.labelling.server.guard import HEADERS
from prefloop.labelling.server.security import make_tokens

pytest_plugins = ["store_fixtures"]


def test_from_a_run_to_its_labels(api):
    queries = fill(api, instructions="Watch the pole.")
    (run,) = api.get("/api/runs").json()
    assert (run["name"], run["env"], run["instructions"]) == ("cartpole-01", "CartPole-v1", "Watch the pole.")  # fmt: skip
    assert run["counts"] == {"queries": 3, "answered": 0, "skipped": 0, "left": 3, "labels": 0, "annotators": 0}  # fmt: skip
    given = lease(api, count=2)
    assert (given["state"], given["left_over"]) == ("queries", None)
    assert [query["query"] for query in given["queries"]] == queries[:2]
    assert given["queries"][0]["left"].keys() == {"segment", "length", "clip_url", "clip_error"}
    assert "repeat" not in json.dumps(given)
    reply = say(api, given["queries"][0], "tie", trim={"start": 1, "stop": 3}, seconds=2.5)
    assert reply.status_code == 200
    assert reply.json()["query"] == queries[0]
    assert say(api, given["queries"][1], "skip").json()["kind"] == "skip"
    labels = api.get("/api/runs/cartpole-01/labels").json()
    assert [(e["query"], e["kind"], e["label"]) for e in labels["events"]] == [
        (queries[0], "answer", 0.5),
        (queries[1], "skip", None),
    ]
    assert labels["events"][0]["trim"] == {"start": 1, "stop": 3}
    assert (labels["next"], labels["more"], labels["round"]) == (2, False, 1)
    back = api.post("/api/undo", json={**ADA, "id": str(uuid.uuid4()), "run": "cartpole-01"}).json()
    assert [query["query"] for query in back["queries"]] == [queries[1]]
    after = api.get("/api/runs/cartpole-01/labels", params={"after": 2}).json()["events"]
    assert [event["kind"] for event in after] == ["undo"]
    counts = api.get("/api/runs/cartpole-01").json()["counts"]
    assert (counts["answered"], counts["left"]) == (1, 2)


def test_what_users_do_with_runs(api):
    fill(api)
    say(api, lease(api)["queries"][0])
    assert (
        api.post("/api/runs/cartpole-01/rename", json={"name": "better"}).json()["name"] == "better"
    )
    assert api.get("/api/runs/cartpole-01").status_code == 404
    assert api.post("/api/runs/better/label-again").json()["counts"]["labels"] == 0
    assert api.put("/api/runs/better", json={**RUN, "env": "Acrobot-v1"}).status_code == 409
    assert api.delete("/api/runs/better").status_code == 204
    assert api.get("/api/runs").json() == []


def test_an_export_is_a_preference_dataset(api, tmp_path):
    queries = fill(api, num_queries=4)
    assert api.get("/api/runs/cartpole-01/export").status_code == 400
    for choice, trim in (("left", None), ("skip", None), ("tie", {"start": 1, "stop": 3})):
        say(api, lease(api)["queries"][0], choice, trim=trim)
    reply = api.get("/api/runs/cartpole-01/export")
    assert reply.headers["content-type"] == "application/zip"
    zipfile.ZipFile(io.BytesIO(reply.content)).extractall(tmp_path / "export")
    read = dataset.read(tmp_path / "export")
    assert len(read) == 3
    assert np.isnan(read.labels[1])
    assert read.labels[2] == 0.5
    np.testing.assert_array_equal(read.segments.lengths[read.first], [5, 5, 2])
    whole = make_segment(4).part(1, 3)
    trimmed = read.segments[read.first[2:]]
    np.testing.assert_array_equal(trimmed.obs[0, :2], whole.obs)
    assert trimmed.first_step[0] == whole.first_step
    text = (tmp_path / "export" / "preferences.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["query"] for line in lines] == queries[:3]
    assert {line["annotator"] for line in lines} == {"ada"}
    assert lines[2]["trim"] == [1, 3]
    assert dataset.read_metadata(tmp_path / "export")["run"] == "cartpole-01"


def test_continuous_actions(api):
    segments = random_segments(2, 4, np.random.default_rng(0), discrete=False)
    api.put("/api/runs/p", json={"env": "Pendulum-v1", "spaces": {"obs_shape": [3], "obs_dtype": "float32", "discrete": False, "num_actions": 1}})  # fmt: skip
    first, _ = api.post("/api/runs/p/segments", content=to_archive(segments)).json()["ids"]
    shown = api.get(f"/api/segments/{first}").json()
    np.testing.assert_array_equal(np.float32(shown["actions"]), segments.actions[0])
    np.testing.assert_array_equal(np.float32(shown["obs"]), segments.obs[0])


def test_labels_from_elsewhere(api):
    queries = fill(api)
    label = {"id": str(uuid.uuid4()), "query": queries[0], "annotator": "bob", "label": 1.0}
    assert api.post("/api/runs/cartpole-01/labels", json={"labels": [label]}).json() == {"added": 1}
    assert api.post("/api/runs/cartpole-01/labels", json={"labels": [label]}).json() == {"added": 0}
    assert api.get("/api/runs/cartpole-01").json()["counts"]["answered"] == 1


def test_results(api):
    queries = fill(api, annotators_per_query=2)
    for annotator in ("ada", "bob"):
        session = str(uuid.uuid4())
        given = lease(api, annotator=annotator, session=session, count=3)["queries"]
        say(api, given[0], "tie", seconds=1.0)
    hard = [
        {"query": query, "label": 0.5, "probability": 0.9}
        for query in (queries[0], str(uuid.uuid4()))  # the run has no such query
    ]
    report = {"accuracy": 0.75, "labels": 4, "hardest": hard}
    assert api.put("/api/runs/cartpole-01/reward-report", json=report).status_code == 204
    found = api.get("/api/runs/cartpole-01/results").json()
    assert found["agreement"] == {"n": 1, "share": 1.0}
    assert found["alpha"] == {"n": 2, "value": None}  # both said the same, and nothing else
    assert [row["annotator"] for row in found["annotators"]] == ["ada", "bob"]
    assert found["seconds"] == {"n": 2, "low": 1.0, "median": 1.0, "high": 1.0}
    assert [curve["annotator"] for curve in found["curves"]] == ["ada", "bob"]
    assert found["over_time"][-1]["labels"] == 2
    reward = found["reward"]
    assert (reward["accuracy"], reward["labels"]) == (0.75, 4)
    (pair,) = reward["hardest"]
    assert (pair["query"], pair["label"], pair["probability"]) == (queries[0], 0.5, 0.9)
    shown = {given[0][side]["segment"] for side in ("left", "right")}
    assert {pair["first"]["segment"], pair["second"]["segment"]} == shown
    assert [(said["annotator"], said["label"]) for said in pair["said"]] == [("ada", 0.5), ("bob", 0.5)]  # fmt: skip
    assert pair["first_reward"] is None  # the trainer did not say
    told = {"learned": [0.5, 1.0], "lowest": [0.0, 0.5], "highest": [1.0, 1.5], "true": [1.0]}
    uneven = {**report, "hardest": [{**hard[0], "first_reward": told}]}
    refused = api.put("/api/runs/cartpole-01/reward-report", json=uneven)
    assert refused.status_code == 422 and "of each step" in refused.json()["detail"]
    even = {**report, "hardest": [{**hard[0], "first_reward": {**told, "true": None}}]}
    assert api.put("/api/runs/cartpole-01/reward-report", json=even).status_code == 204
    (pair,) = api.get("/api/runs/cartpole-01/results").json()["reward"]["hardest"]
    assert pair["first_reward"] == {**told, "true": None} and pair["second_reward"] is None
    # as much as a trainer may send
    steps = [1.234567] * MAX_TRACE
    long = {"learned": steps, "lowest": steps, "highest": steps, "true": steps}
    most = [{**hard[0], "first_reward": long, "second_reward": long}] * 20
    assert api.put("/api/runs/cartpole-01/reward-report", json={**report, "hardest": most}).status_code == 204  # fmt: skip
    # of labels that no longer count, nothing is said
    api.post("/api/runs/cartpole-01/label-again")
    assert api.get("/api/runs/cartpole-01/results").json()["reward"] is None


def test_clips_of_results_that_are_gone_are_asked_for(serve, store, tmp_path):
    wanted = []
    api = serve(want_clips=wanted.extend)
    (query, _) = fill(api, num_queries=2)
    (first, second) = (side.segment for side in store.queue.sides("cartpole-01", [uuid.UUID(query)])[uuid.UUID(query)])  # fmt: skip
    body = {"labels": 1, "accuracy": 1.0, "hardest": [{"query": query, "label": 0, "probability": 0.9}]}  # fmt: skip
    assert api.put("/api/runs/cartpole-01/reward-report", json=body).status_code == 204

    def clips():
        (pair,) = api.get("/api/runs/cartpole-01/results").json()["reward"]["hardest"]
        return [pair["first"]["clip_url"], pair["second"]["clip_url"]]

    assert clips() == [None, None]
    assert set(wanted) == {first, second}
    store.segments.set_clip(first, "a" * 64, sent=False)
    store.segments.set_clip(second, "b" * 64, sent=True)
    assert clips() == [None, f"/clips/{'b' * 64}.mp4"]  # of the second nobody can make another
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / f"{'a' * 64}.mp4").write_bytes(b"clip")
    assert clips() == [f"/clips/{'a' * 64}.mp4", f"/clips/{'b' * 64}.mp4"]


def test_settings_switch_things_off(api):
    fill(api)
    (given,) = lease(api)["queries"]
    off = {"allow_ties": False, "allow_skip": False, "allow_trim": False}
    assert api.put("/api/settings", json=off).json()["values"]["allow_ties"] is False
    for choice, trim in (("tie", None), ("skip", None), ("left", {"start": 0, "stop": 2})):
        reply = say(api, given, choice, trim=trim)
        assert reply.status_code == 403
        assert "switched off" in reply.json()["detail"]
    assert say(api, given, "right").status_code == 200


def tell_training(api, **changes):
    told = {"trainer": str(uuid.UUID(int=1)), "phase": "learning", "steps": 5400, **changes}
    assert api.put("/api/runs/cartpole-01/training", json=told).status_code == 200


def test_runs_are_archived_and_brought_back(api):
    fill(api)
    assert api.post("/api/runs/cartpole-01/archive").json()["archived"] is True
    assert lease_reply(api).status_code == 409
    assert api.post("/api/runs/cartpole-01/bring-back").json()["archived"] is False
    assert lease_reply(api).status_code == 200
    assert api.post("/api/runs/gone/archive").status_code == 404


def test_a_run_that_a_program_trains_on_is_not_taken_from_it_unasked(api):
    fill(api)
    assert api.get("/api/runs/cartpole-01").json()["training"] is None
    tell_training(api)
    about = {"phase": "learning", "steps": 5400, "until": None, "paused": False}
    assert api.get("/api/runs/cartpole-01").json()["training"] == about
    assert api.get("/api/runs").json()[0]["training"] == about
    for reply in (
        api.delete("/api/runs/cartpole-01"),
        api.post("/api/runs/cartpole-01/archive"),
    ):
        assert reply.status_code == 409
        assert "A program trains on the run cartpole-01 now; stop it" in reply.json()["detail"]
    params = {"although_it_trains": True}
    assert api.delete("/api/runs/cartpole-01", params=params).status_code == 204
    fill(api)
    tell_training(api, phase="ended")
    assert api.get("/api/runs").json()[0]["training"] is None
    assert api.delete("/api/runs/cartpole-01").status_code == 204


def test_settings_of_one_run(api):
    fill(api)
    path = "/api/runs/cartpole-01/settings"
    before = api.get(path).json()
    assert before["own"] == {} and before["may_change"]
    assert [key["key"] for key in before["keys"]] == list(before["everywhere"])
    assert before["everywhere"] == {
        "frames_per_second": None, "playback_speed": 1.0, "rendered_queue_size": 10, "pairs_ahead": 4,
    }  # fmt: skip
    reply = api.put(path, json={"playback_speed": 0.5, "pairs_ahead": 2}).json()
    assert reply["own"] == {"playback_speed": 0.5, "pairs_ahead": 2}
    assert reply["values"] == {**before["values"], "playback_speed": 0.5, "pairs_ahead": 2}
    assert api.get("/api/settings").json()["values"]["playback_speed"] == 1.0
    assert api.get("/api/runs/cartpole-01").json()["own_settings"] == reply["own"]
    refused = api.put(path, json={"playback_speed": 99, "pairs_ahead": 3})
    assert refused.status_code == 422
    assert refused.json()["detail"] == "playback_speed must be between 0.1 and 10, not 99.0."
    assert api.put(path, json={"allow_ties": False}).status_code == 422
    assert api.put(path, json={"pairs_ahead": 1.5}).status_code == 422
    assert api.get(path).json()["own"] == reply["own"]
    assert api.put(path, json={"playback_speed": None}).json()["own"] == {"pairs_ahead": 2}
    assert api.get("/api/runs/gone/settings").status_code == 404


def test_settings(api, tmp_path):
    shown = api.get("/api/settings").json()
    assert shown["may_change"]
    assert [key["key"] for key in shown["keys"]] == list(shown["values"])
    reply = api.put("/api/settings", json={"playback_speed": 99})
    assert reply.status_code == 422
    assert reply.json()["detail"] == "playback_speed must be between 0.1 and 10, not 99.0."
    assert api.put("/api/settings", json={"settings_locked": True}).status_code == 422
    changed = api.put("/api/settings", json={"max_queries_per_annotator": 1}).json()
    assert changed["values"]["max_queries_per_annotator"] == 1
    fill(api)
    say(api, lease(api)["queries"][0])
    assert lease(api)["state"] == "finished"
    assert "max_queries_per_annotator: 1\n" in (tmp_path / "labelling.yaml").read_text()


def test_locked_settings_are_not_changed(serve, tmp_path):
    (tmp_path / "labelling.yaml").write_text("settings_locked: true\n")
    api = serve()
    assert api.get("/api/settings").json()["may_change"] is False
    fill(api)
    refused = api.put("/api/runs/cartpole-01/settings", json={"playback_speed": 2})
    assert refused.status_code == 403 and "locked" in refused.json()["detail"]
    reply = api.put("/api/settings", json={"allow_ties": False})
    assert (reply.status_code, "locked" in reply.json()["detail"]) == (403, True)


def test_health_says_what_answers(api):
    assert api.get("/api/health").json() == {
        "version": prefloop.__version__,
        "schema": SCHEMA,
        "role": "trainer",
        "languages": ["en"],  # of the page's files that it has here
    }


def test_the_openapi_document_names_every_operation(api):
    document = api.get("/api/openapi.json").json()
    operations = {
        operation["operationId"]: path
        for path, methods in document["paths"].items()
        for operation in methods.values()
    }
    assert {
        "lease_queries",
        "answer",
        "undo",
        "put_run",
        "list_labels",
        "get_clip",
    } <= operations.keys()
    assert len(operations) == sum(len(methods) for methods in document["paths"].values())
    told = (ROOT / "docs" / "labelling_api.md").read_text(encoding="utf-8")
    errors = set(re.findall(r"\b[45]\d\d\b", told.partition("## Errors")[2].partition("##")[0]))
    for methods in document["paths"].values():
        for operation in methods.values():
            assert errors - {"500"} <= operation["responses"].keys()


def test_the_page_is_served_under_a_strict_policy(api):
    reply = api.get("/")
    assert "<title>page</title>" in reply.text
    for name, value in HEADERS.items():
        assert reply.headers[name] == value
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_a_page_that_is_loaded_again_is_quick_and_sees_what_changed(api, tmp_path):
    first = api.get("/")
    assert first.headers["cache-control"] == "no-cache"
    known = {"if-none-match": first.headers["etag"]}
    again = api.get("/", headers=known)
    assert (again.status_code, again.text) == (304, "")
    assert "content-security-policy" in again.headers
    (tmp_path / "static" / "index.html").write_text("changed")
    changed = api.get("/", headers=known)
    assert (changed.status_code, changed.text) == (200, "changed")
    assert api.get("/api/runs").headers["cache-control"] == "no-store"


# who may do what


@pytest.fixture
def tokens():
    return make_tokens()


def test_who_may_do_what(serve, tokens):
    api = serve(tokens=tokens.hashed, wrong_tokens=WrongTokens(free=1000))
    annotator, trainer = (
        {"authorization": f"Bearer {t}"} for t in (tokens.annotator, tokens.trainer)
    )
    document = api.get("/api/openapi.json").json()
    for path, methods in document["paths"].items():
        if path == "/api/health":
            continue
        for method in methods:
            reply = api.request(method, path.replace("{name}", "x"), headers={})
            assert reply.status_code == 401, (method, path)
            wrong = {"authorization": f"Bearer {tokens.annotator[:-1]}"}
            assert api.request(method, path, headers=wrong).status_code == 401, (method, path)
    assert api.put("/api/runs/x", json=RUN, headers=annotator).status_code == 403
    assert api.put("/api/runs/x", json=RUN, headers=trainer).status_code == 200
    assert api.get("/api/runs/x/labels", headers=annotator).status_code == 403
    assert api.delete("/api/runs/x", headers=annotator).status_code == 403
    assert api.put("/api/settings", json={}, headers=annotator).status_code == 403
    own = "/api/runs/x/settings"
    assert api.put(own, json={}, headers=annotator).status_code == 403
    assert api.get(own, headers=annotator).json()["may_change"] is False
    for action in ("archive", "bring-back"):
        assert api.post(f"/api/runs/x/{action}", headers=annotator).status_code == 403
    assert api.post("/api/runs/x/archive", headers=trainer).status_code == 200
    assert api.get("/api/runs", headers=annotator).json() == []
    assert [run["name"] for run in api.get("/api/runs", headers=trainer).json()] == ["x"]
    assert api.post("/api/runs/x/bring-back", headers=trainer).status_code == 200
    assert api.post("/api/runs/x/leases", json=ADA, headers=annotator).status_code == 200
    assert api.post("/api/runs/x/leases", json=ADA, headers=trainer).status_code == 200
    roles = [api.get("/api/health", headers=h).json()["role"] for h in ({}, annotator, trainer)]
    assert roles == [None, "annotator", "trainer"]
    # the page itself holds no secret
    assert api.get("/").status_code == 200


def test_only_hashes_of_tokens_are_kept(tokens):
    assert tokens.annotator not in str(tokens.hashed)
    assert tokens.hashed.role(tokens.annotator) == "annotator"
    assert tokens.hashed.role(tokens.trainer) == "trainer"
    for wrong in ("", tokens.hashed.trainer, "ö", "\ud800"):
        assert tokens.hashed.role(wrong) is None
