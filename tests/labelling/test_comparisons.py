"""Comparisons on the server: sent, shown, refused and removed."""

import copy
import json
import uuid

import pytest
from compared import ID, STEPS, comparison, digest, send, video
from pages import Site

from prefloop.labelling.limits import MAX_COMPARISON
from prefloop.labelling.server import bodies
from prefloop.labelling.server.security import make_tokens

PLACE = f"/api/comparisons/{ID}"


@pytest.fixture
def site(tmp_path):
    """An application that is served."""
    with Site(tmp_path) as site:
        yield site


@pytest.fixture
def api(site):
    return site.api


def stored(tmp_path):
    return sorted(path.stem for path in (tmp_path / "clips").glob("*"))


def test_it_is_shown_once_all_of_its_clips_are_there(api):
    about, videos = comparison()
    assert api.put(PLACE, json=about).json() == {"missing": sorted(videos)}
    assert api.get("/api/comparisons").json() == []
    assert api.get(PLACE).status_code == 404
    first, *others = sorted(videos)
    api.put(f"{PLACE}/clips/{first}", content=videos[first])
    assert api.put(PLACE, json=about).json() == {"missing": others}  # as after a kill
    assert api.get(PLACE).status_code == 404
    send(api, about, videos)
    (found,) = api.get("/api/comparisons").json()
    assert found.pop("created_at").startswith("20")
    assert found == {"id": ID, "env": about["env"], "runs": ["taught", "true"], "by": "ada", "clips": len(videos)}  # fmt: skip
    shown = api.get(PLACE).json()
    rewards = shown["runs"][1]["policies"][0]["clips"][0]["reward"]
    assert (rewards.pop("learned"), rewards.pop("lowest"), rewards.pop("highest")) == (None,) * 3
    for run in about["runs"][1:]:
        for policy in run["policies"]:
            for clip in policy["clips"]:
                clip["reward"] |= {"learned": None, "lowest": None, "highest": None}
    rewards |= {"learned": None, "lowest": None, "highest": None}
    assert shown == about


def test_its_clips_are_served_in_parts_and_kept_by_browsers(api):
    about, videos = comparison()
    send(api, about, videos)
    name, data = next(iter(videos.items()))
    part = api.get(f"/clips/{name}.mp4", headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, data[10:20])
    assert "immutable" in part.headers["cache-control"]
    again = api.get(f"/clips/{name}.mp4", headers={"if-none-match": part.headers["etag"]})
    assert again.status_code == 304


def test_sent_again_it_takes_the_place_of_the_one_before(api):
    about, videos = comparison()
    send(api, about, videos)
    send(api, about, videos)
    other, others = comparison("taught", "true", "third")
    send(api, other, others)
    (found,) = api.get("/api/comparisons").json()
    assert (found["runs"], found["clips"]) == (["taught", "true", "third"], len(others))


def _first_clip(about):
    return about["runs"][0]["policies"][0]["clips"][0]


MISTAKES = {
    "two runs have one name": lambda about: about["runs"][1].update(name="taught"),
    "all policies must be filmed from the same starts": lambda about: about["runs"][0]["policies"][0]["clips"].pop(),
    "a reward must be told of each step": lambda about: _first_clip(about)["reward"]["true"].pop(),
    "a learned reward comes with its lowest": lambda about: _first_clip(about)["reward"].pop("lowest"),
    "at most 6 items": lambda about: about.update(runs=[{**about["runs"][0], "name": str(i)} for i in range(7)]),
    "at least 1 item": lambda about: about.update(runs=[]),
    "it must be one line": lambda about: about["runs"][0].update(name="two\nlines"),
    "control characters": lambda about: about.update(env="bell\a"),
    "should match pattern": lambda about: _first_clip(about).update(video="../../secret"),
    "finite number": lambda about: about["runs"][0]["policies"][0].update(mean=float("nan")),
    "Extra inputs": lambda about: about.update(more=1),
    "at most 64 characters": lambda about: about.update(by="x" * 65),
    "less than or equal to 10000": lambda about: _first_clip(about).update(steps=10_001),
}  # fmt: skip


@pytest.mark.parametrize("words", MISTAKES)
def test_what_is_none_is_refused_in_a_sentence(api, words, tmp_path):
    about = copy.deepcopy(comparison()[0])
    MISTAKES[words](about)
    content = json.dumps(about)  # NaN among it
    reply = api.put(PLACE, content=content, headers={"content-type": "application/json"})
    assert reply.status_code == 422, reply.text
    assert words in reply.json()["detail"]
    assert len(reply.json()["detail"]) < 501
    assert api.delete(PLACE).status_code == 404


@pytest.mark.parametrize("id", [ID[:-1], "x", "%2e%2e", "0"])
def test_an_id_that_is_none_is_refused(api, id):
    for method, body in (("PUT", {"json": comparison()[0]}), ("GET", {}), ("DELETE", {})):
        assert api.request(method, f"/api/comparisons/{id}", **body).status_code in (404, 405, 422)
    assert api.get("/api/comparisons").json() == []


def test_what_is_too_large_is_not_read(api, tmp_path):
    about, videos = comparison()
    about["env"] = "x" * MAX_COMPARISON
    assert api.put(PLACE, json=about).status_code == 413
    about, videos = comparison()
    api.put(PLACE, json=about)
    place = f"{PLACE}/clips/{next(iter(videos))}"
    assert api.put(place, content=b"\0" * (bodies.MAX_CLIP + 1)).status_code == 413
    assert stored(tmp_path) == []


def test_only_the_videos_that_it_names_are_taken(api, tmp_path):
    about, videos = comparison()
    no_video = b"%PDF-1.4 no video"
    fake = comparison("a", policies=1, starts=1)[0]
    _first_clip(fake)["video"] = digest(no_video)
    other = str(uuid.UUID(int=8))
    assert api.put(f"/api/comparisons/{other}", json=fake).status_code == 200
    reply = api.put(f"/api/comparisons/{other}/clips/{digest(no_video)}", content=no_video)
    assert (reply.status_code, reply.json()["detail"]) == (400, "This is no MP4 video.")
    api.put(PLACE, json=about)
    name = next(iter(videos))
    for place, data, status, words in (
        (f"{PLACE}/clips/{name}", video(99), 422, "another video"),
        (f"{PLACE}/clips/{name}", videos[name][:-100], 422, "another video"),
        (f"{PLACE}/clips/{digest(video(99))}", video(99), 404, "shows no such clip"),
        (f"/api/comparisons/{uuid.UUID(int=9)}/clips/{name}", videos[name], 404, "no such comp"),
        (f"{PLACE}/clips/..%2F{name}", videos[name], 405, ""),
    ):
        reply = api.put(place, content=data)
        assert reply.status_code == status, reply.text
        assert words in reply.json()["detail"]
    assert stored(tmp_path) == []
    assert api.get("/api/comparisons").json() == []


def test_its_clips_count_among_those_that_were_sent(site, tmp_path):
    about, videos = comparison()
    send(site.api, about, videos)
    assert site.store.sent_clips() == set(videos)
    site.settings.change({"sent_clips_mb": 1})
    with (tmp_path / "clips" / f"{next(iter(videos))}.mp4").open("ab") as file:
        file.truncate(10**6)  # as if it had been that large
    more, others = comparison("a", steps=STEPS + 1)
    place = f"/api/comparisons/{uuid.UUID(int=8)}"
    name, *_ = site.api.put(place, json=more).json()["missing"]
    reply = site.api.put(f"{place}/clips/{name}", content=others[name])
    assert reply.status_code == 507
    assert "sent_clips_mb" in reply.json()["detail"]


def test_removed_it_takes_the_clips_that_nothing_else_shows(api, tmp_path):
    about, videos = comparison()
    less, shared = comparison("taught", policies=1, starts=1)
    other = str(uuid.UUID(int=8))
    send(api, about, videos)
    send(api, less, shared, other)
    assert set(shared) < set(videos)
    assert api.delete(PLACE).status_code == 204
    assert stored(tmp_path) == sorted(shared)
    for method in ("GET", "DELETE"):
        reply = api.request(method, PLACE)
        assert (reply.status_code, "may have been removed" in reply.text) == (404, True)
    gone = next(iter(set(videos) - set(shared)))
    assert api.get(f"/clips/{gone}.mp4").status_code == 404
    assert api.delete(f"/api/comparisons/{other}").status_code == 204
    assert stored(tmp_path) == []


def test_annotators_watch_and_trainers_send_and_remove(tmp_path):
    tokens = make_tokens()
    annotator, trainer, stranger = (
        {"authorization": f"Bearer {token}"} for token in (tokens.annotator, tokens.trainer, "x")
    )
    about, videos = comparison(policies=1, starts=1)
    name = next(iter(videos))
    with Site(tmp_path, tokens=tokens.hashed) as site:
        api = site.api
        writes = (
            ("PUT", PLACE, {"json": about}),
            ("PUT", f"{PLACE}/clips/{name}", {"content": videos[name]}),
            ("DELETE", PLACE, {}),
        )
        for method, place, body in writes:
            assert api.request(method, place, **body).status_code == 401
            assert api.request(method, place, headers=stranger, **body).status_code == 401
            assert api.request(method, place, headers=annotator, **body).status_code == 403
        api.headers = trainer
        send(api, about, videos)
        api.headers = {}
        for place in ("/api/comparisons", PLACE, f"/clips/{name}.mp4"):
            assert api.get(place).status_code == 401
            assert api.get(place, headers=stranger).status_code == 401
            assert api.get(place, headers=annotator).status_code == 200
