"""Arenas over the API: votes rank, and nothing that an annotator may ask for names whom they see."""

import io
import json
import uuid
import zipfile
from contextlib import ExitStack

import pytest
from arenas import AGENTS, NAMES, RUN, fill, vote
from serving import serving

from prefloop.labelling.server import arena
from prefloop.labelling.server.app import create_app
from prefloop.labelling.server.clips import ClipStore
from prefloop.labelling.server.config import SettingsFile
from prefloop.labelling.server.security import make_tokens
from prefloop.labelling.server.storage.records import Vote


@pytest.fixture
def serve(store, tmp_path):
    """Makes a client of a server."""
    with ExitStack() as stack:

        def client(**kwargs):
            clips = ClipStore(tmp_path / "clips", 10**7)
            app = create_app(store, clips, SettingsFile(tmp_path / "labelling.yaml"), **kwargs)
            return stack.enter_context(serving(app))

        yield client


def test_votes_rank_agents(serve):
    api = serve()
    asked = fill(api)
    assert api.get("/api/runs/walkers").json()["arena"] is True
    empty = api.get("/api/runs/walkers/ranking").json()
    assert (empty["votes"], empty["tie"]) == (0, None)
    assert [agent["strength"] for agent in empty["agents"]] == [None] * 3
    vote(api, asked)
    found = api.get("/api/runs/walkers/ranking").json()
    assert [agent["name"] for agent in found["agents"]] == list(NAMES)
    assert found["groups"] == [list(NAMES)] and (found["votes"], found["skips"]) == (6, 0)
    assert [agent["wins"] for agent in found["agents"]] == [4, 2, 0]
    assert all(agent["low"] < agent["strength"] < agent["high"] for agent in found["agents"])
    assert found["beats"][0][1] > 0.5 > found["beats"][1][0] and found["beats"][0][0] is None
    assert found["beats"][0][2] + found["beats"][2][0] == pytest.approx(1)


def test_agents_without_votes_between_them_are_said(serve):
    api = serve()
    asked = fill(api)
    some = {query: pair for query, pair in asked.items() if pair == (0, 1)}
    vote(api, some)
    found = api.get("/api/runs/walkers/ranking").json()
    assert found["groups"] == [list(NAMES[:2]), [NAMES[2]]]
    assert found["agents"][2]["strength"] is None and found["beats"][0][2] is None


def test_no_reply_to_an_annotator_names_an_agent(serve):
    tokens = make_tokens()
    annotators, trainers = (
        {"headers": {"authorization": f"Bearer {token}"}}
        for token in (tokens.annotator, tokens.trainer)
    )
    api = serve(tokens=tokens.hashed)
    vote(api, fill(api, **trainers), **trainers)
    asked = fill(api, "again", **trainers)
    replies = []
    session = str(uuid.uuid4())
    wish = {"annotator": "ada", "session": session, "count": 3}
    leased = api.post("/api/runs/again/leases", json=wish, **annotators)
    query = leased.json()["queries"][0]
    said = {"id": str(uuid.uuid4()), "lease": query["lease"], "choice": "left"}
    undo = {"id": str(uuid.uuid4()), "run": "again", "annotator": "ada", "session": session}
    replies += [leased, api.post("/api/answers", json=said, **annotators)]
    replies += [api.post("/api/undo", json=undo, **annotators)]
    places = {"name": "walkers", "segment": query["left"]["segment"]}
    document = api.get("/api/openapi.json", **annotators).json()
    for path, methods in document["paths"].items():
        if "get" in methods:
            address = path
            for key, value in places.items():
                address = address.replace(f"{{{key}}}", value)
            replies.append(api.get(address, **annotators))
    assert len(asked) == 6 and sum(reply.status_code == 200 for reply in replies) >= 7
    for reply in replies:
        assert b"zebra" not in reply.content, reply.url
    assert api.get("/api/runs/walkers/ranking", **annotators).status_code == 403
    assert b"zebra" in api.get("/api/runs/walkers/ranking", **trainers).content


def test_exported_votes_name_whom_they_are_about(serve):
    api = serve()
    asked = fill(api)
    vote(api, asked)
    archive = zipfile.ZipFile(io.BytesIO(api.get("/api/runs/walkers/export").content))
    lines = [json.loads(line) for line in archive.read("preferences.jsonl").splitlines()]
    said = {line["query"]: (line["first_agent"], line["second_agent"]) for line in lines}
    assert said == {query: (NAMES[i], NAMES[j]) for query, (i, j) in asked.items()}


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("walkers", {**RUN, "agents": [AGENTS[0], AGENTS[0]]}, 422, "two agents have one name"),
        ("walkers", {**RUN, "agents": []}, 422, "at least 1 item"),
        ("walkers", {**RUN, "agents": [{**AGENTS[0], "digest": "9" * 64}]}, 409, "another policy"),
        ("walkers", {**RUN, "agents": [{**AGENTS[0], "name": "a\nb"}]}, 422, "one line"),
        ("walkers", {**RUN, "agents": None}, 409, "is an arena"),
        ("ordinary", RUN, 409, "exists and is no arena"),
    ],
)
def test_what_is_refused(serve, path, body, status, words):
    api = serve()
    fill(api)
    assert api.put("/api/runs/ordinary", json={**RUN, "agents": None}).status_code == 200
    reply = api.put(f"/api/runs/{path}", json=body)
    assert reply.status_code == status and words in reply.json()["detail"]
    reply = api.get("/api/runs/ordinary/ranking")
    assert (reply.status_code, "is no arena" in reply.json()["detail"]) == (404, True)


def test_a_ranking_is_computed_once_for_the_same_votes(monkeypatch):
    computed = []
    rank = arena.rank
    monkeypatch.setattr(arena, "rank", lambda *given: computed.append(given) or rank(*given))
    arena._ranked.cache_clear()
    votes = [Vote(uuid.UUID(int=i), "a", "b", label) for i, label in enumerate([0.0, 1.0, None])]
    first = arena.ranking(["a", "b"], votes)
    assert arena.ranking(["a", "b"], votes) == first and len(computed) == 1
    assert (first["votes"], first["skips"]) == (2, 1)
    arena.ranking(["a", "b"], votes[:1])
    assert len(computed) == 2
