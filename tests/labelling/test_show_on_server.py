"""`prefloop show --server`, as a user meets it."""

import hashlib

import pytest
from compared import comparison
from conftest import assert_one_sentence
from kept_runs import make_run
from serving import ServerProcess

from prefloop.errors import UserError
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.client.comparing import send_comparison
from prefloop.labelling.limits import MAX_COMPARISON

pytest_plugins = ["teaching_fixtures"]

SHOW = "prefloop.cli show a b --steps 20 --episodes 2 --clips 2"


@pytest.fixture
def kept(tmp_path):
    """Two runs."""
    make_run(tmp_path / "a", kept=(0,), labels=True, reward=True)
    make_run(tmp_path / "b", kept=(), seed=1)


def listed(client):
    return client._call("GET", "/api/comparisons").json()


@pytest.fixture
def emptied(client):
    """No comparison is there before, or after."""
    yield client
    for found in listed(client):
        client._call("DELETE", f"/api/comparisons/{found['id']}")


@pytest.mark.usefixtures("kept")
def test_what_was_filmed_is_on_the_server_and_in_the_folder(run, emptied, tmp_path):
    outcome = run(f"{SHOW} --server {emptied.url} --by ada")
    assert outcome.code == 0, outcome.err
    (found,) = listed(emptied)
    assert (found["runs"], found["by"], found["clips"]) == (["a", "b"], "ada", 6)
    assert f"It is at {emptied.url}/#/comparisons/{found['id']}; open it" in outcome.out
    assert "Wrote last-show" in outcome.out
    shown = emptied._call("GET", f"/api/comparisons/{found['id']}").json()
    clip = shown["runs"][0]["policies"][1]["clips"][1]
    video = (tmp_path / "last-show" / "clips" / "0-1-1.mp4").read_bytes()
    assert clip["video"] == hashlib.sha256(video).hexdigest()
    assert emptied._call("GET", f"/clips/{clip['video']}.mp4").content == video
    assert len(clip["reward"]["learned"]) == len(clip["reward"]["true"]) == clip["steps"]
    assert shown["runs"][1]["policies"][0]["clips"][0]["reward"]["learned"] is None
    # the same again takes its place, whatever the encoder made of it and whoever shows it
    outcome = run(f"{SHOW} --server {emptied.url} --export kept")
    assert outcome.code == 0, outcome.err
    (again,) = listed(emptied)
    assert (again["id"], again["by"]) == (found["id"], None)
    assert (tmp_path / "kept" / "index.html").is_file()


@pytest.mark.usefixtures("known_server", "kept")
def test_nothing_is_sent_that_nobody_asked_to_send(run, emptied):
    outcome = run(SHOW)
    assert (outcome.code, listed(emptied)) == (0, [])
    assert_one_sentence(run(f"{SHOW} --by ada"), "--by does nothing without --server")


@pytest.mark.usefixtures("kept")
def test_what_would_be_refused_is_refused_before_anything_is_played(run, tmp_path, monkeypatch):
    monkeypatch.delenv("PREFLOOP_SERVER", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for flags, words in (
        ("--server ftp://x", "no address such as"),
        ("--profile pilot", "No labelling server of the profile pilot runs; `prefloop label"),
    ):
        assert_one_sentence(run(f"{SHOW} {flags}"), words)
    with ServerProcess("--home", str(tmp_path / "home"), "--tokens") as server:
        assert_one_sentence(run(f"{SHOW} --server {server.url}"), "set PREFLOOP_TOKEN")
    assert not (tmp_path / "last-show").exists()


def test_more_than_a_server_takes_is_told_before_it_is_sent(tmp_path):
    about, videos = comparison("a", policies=1, starts=1)
    clip = about["runs"][0]["policies"][0]["clips"][0]
    (tmp_path / "clip.mp4").write_bytes(next(iter(videos.values())))
    clip["video"] = "clip.mp4"
    nobody = LabellingClient("http://127.0.0.1:9", patience=0.0)
    for change in ({"steps": 10_001}, {"reward": {"true": [0.125] * (MAX_COMPARISON // 7)}}):
        too_much = {
            **about,
            "runs": [{**about["runs"][0], "policies": [{"clips": [clip | change]}]}],
        }
        with pytest.raises(UserError, match="more than a labelling server takes; give --steps"):
            send_comparison(nobody, too_much, tmp_path)
    with pytest.raises(UserError, match="does not answer"):
        send_comparison(nobody, about, tmp_path)
