import socket
import threading
import uuid
from dataclasses import replace

import httpx
import numpy as np
import pytest
from made_up import random_segments
from people import SCHEMA
from serving import ServerProcess

from prefloop.data.preferences import Queries
from prefloop.envs.spaces import Spaces
from prefloop.errors import UserError
from prefloop.labelling.client.asking import ask
from prefloop.labelling.client.calling import RefusedError
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.client.people import People

FACTS = {"env": "CartPole-v1", "spaces": Spaces((3,), "float32", True, 2)}
SESSION = uuid.UUID(int=1)


@pytest.fixture
def server(tmp_path):
    with ServerProcess("--home", str(tmp_path)) as process:
        yield process


def make_queries(num):
    segments = random_segments(2 * num, 5, np.random.default_rng(0))
    return Queries(segments, np.arange(num), np.arange(num, 2 * num))


def test_what_is_next_up_is_given_first_and_in_its_order(server):
    with LabellingClient(server.url) as client:
        client.put_run("r", **FACTS)
        ids = client.add_segments("r", make_queries(6).segments)
        asked = [(uuid.uuid4(), ids[i], ids[i + 6]) for i in range(6)]
        client.add_queries("r", asked[4:], next_up=True)
        client.add_queries("r", asked[5:])  # known already
        client.add_queries("r", asked[2:4], next_up=True)
        client.add_queries("r", asked[:2], next_up=True)
        given = client.lease("r", "ada", SESSION, 6).queries
        assert [one.query for one in given] == [id for id, *_ in asked]
        client.delete("r")


def test_everything_a_program_says(server, tmp_path):
    queries = make_queries(3)
    with LabellingClient(server.url) as client:
        assert client.health().schema_ == SCHEMA
        assert client.put_run("r", **FACTS, instructions="Look.").instructions == "Look."
        ids = client.add_segments("r", queries.segments)
        asked = [(uuid.uuid4(), ids[i], ids[i + 3]) for i in range(3)]
        client.add_queries("r", asked, iteration=1)
        leases = client.lease("r", "ada", SESSION, 2)
        client.answer(uuid.uuid4(), leases.queries[0].lease, "left", (0, 2), 1.5)
        client.answer(uuid.uuid4(), leases.queries[1].lease, "skip")
        client.undo(uuid.uuid4(), "r", "ada", SESSION)
        assert [event.kind for event in client.all_labels("r")] == ["answer", "skip", "undo"]
        new = {"id": str(uuid.uuid4()), "query": str(asked[2][0]), "annotator": "bob", "label": 1.0}
        assert (client.add_labels("r", [new]), client.add_labels("r", [new])) == (1, 0)
        assert client.training("r") is None
        client.put_training("r", {"trainer": str(SESSION), "phase": "ended", "steps": 7})
        assert client.training("r").steps == 7
        client.put_reward_report("r", 0.5, 2)
        assert client.results("r").reward.accuracy == 0.5
        assert client.export("r").startswith(b"PK")
        with pytest.raises(RefusedError, match=r"400|no MP4") as refused:
            client.put_clip(ids[0], b"no video")
        assert refused.value.status == 400
        assert [run.name for run in client.runs()] == ["r"]
        assert client.rename("r", "s").name == "s"
        assert client.label_again("s").round == 2
        client.delete("s")
        with pytest.raises(RefusedError, match="no run s") as refused:
            client.run("s")
        assert refused.value.status == 404


def test_more_segments_than_one_request_takes(server, monkeypatch):
    segments = random_segments(450, 2, np.random.default_rng(0))
    with LabellingClient(server.url) as client:
        client.put_run("r", **FACTS)
        ids = client.add_segments("r", replace(segments, replay={"replay_seed": np.arange(450)}))
        assert len(set(ids)) == 450
        assert client.add_segments("r", segments[400:]) == ids[400:]
        # and back, with what shows them again if that is wanted
        assert not client.segments("r", ids).replay
        shown = client.segments("r", ids[::-1], with_replay=True)
        assert shown.replay["replay_seed"].tolist() == list(range(449, -1, -1))
        np.testing.assert_array_equal(shown.obs, segments.obs[::-1])
        # what shows some of them in another way shows none of these
        others = random_segments(2, 2, np.random.default_rng(1))
        states = {"replay_states": np.zeros((2, 2, 3))}
        more = client.add_segments("r", replace(others, replay=states))
        assert not client.segments("r", [ids[0], more[0]], with_replay=True).replay
        call = client._call

        def earlier(method, path, **kwargs):
            if "with_replay" in kwargs.get("json", {}):
                raise RefusedError(422, "unknown")
            return call(method, path, **kwargs)

        monkeypatch.setattr(client, "_call", earlier)
        assert len(client.segments("r", ids, with_replay=True)) == 450


def test_the_trainer_waits_through_restarts(server, tmp_path):
    """Somebody is asked; the server is killed while the trainer waits; people answer all the same."""
    sentences, result, asked = [], [], threading.Event()
    with LabellingClient(server.url) as client:
        client.put_run("r", **FACTS)

    def train():
        with LabellingClient(server.url, on_waiting=sentences.append) as client:
            people = People(client, "r", tmp_path / "preferences", pause=0.05)
            people.ask(make_queries(4), 0)
            asked.set()
            people.wait()
            result.append(people.current().labels)

    trainer = threading.Thread(target=train)
    trainer.start()
    asked.wait()
    with LabellingClient(server.url) as client:
        done = 0
        while done < 4:
            leases = client.lease("r", "ada", SESSION, 1)
            for given in leases.queries:
                client.answer(uuid.uuid4(), given.lease, "tie")
                done += 1
                if done in (1, 3):
                    server.kill()
                    server.start()
    trainer.join()
    np.testing.assert_array_equal(result[0], [0.5] * 4)
    assert all("does not answer; waiting" in sentence for sentence in sentences)


def test_a_server_that_is_away_for_an_hour_is_waited_for(server, tmp_path):
    """Its clock goes quicker than ours: what it sleeps is added up."""
    slept, told = [], []

    def sleep(seconds):
        slept.append(seconds)
        if sum(slept) >= 3600 and server.process.poll() is not None:
            server.start()

    with LabellingClient(server.url, patience=None, on_waiting=told.append, sleep=sleep) as client:
        client.put_run("r", **FACTS)
        server.kill()
        people = People(client, "r", tmp_path / "preferences")
        people.ask(make_queries(4), 0)
        assert sum(slept) >= 3600
        assert len(told) == 1 and "does not answer; waiting for it" in told[0]
        assert client.run("r").counts.queries == 4


def test_patience_ends_in_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    pauses, told = [], []
    client = LabellingClient(
        f"http://127.0.0.1:{port}", patience=20, sleep=pauses.append, on_waiting=told.append
    )
    with pytest.raises(UserError, match="does not answer; is it running"):
        client.runs()
    assert len(told) == 1
    assert pauses[0] <= 0.1
    assert 2.5 <= pauses[-1] <= 5
    client.close()


def replying(reply, **more):
    """A client of a server that does what `reply` does."""
    client = LabellingClient("http://127.0.0.1:9", **more)
    client.close()
    transport = httpx.MockTransport(reply)
    client._http = httpx.Client(transport=transport, base_url=client.url)
    return client


@pytest.mark.parametrize(
    ("headers", "content"),
    [({"content-encoding": "gzip"}, b"plain"), ({}, b"[" * 100_000), ({}, b"\xff"), ({}, b"<p>")],
)
def test_what_is_no_reply_of_a_labelling_server(headers, content):
    with (
        replying(lambda _: httpx.Response(200, headers=headers, content=content)) as client,
        pytest.raises(UserError, match="is no labelling server"),
    ):
        client.runs()


def test_patience_counts_what_a_silent_server_takes(monkeypatch):
    now, asked = [0.0], []

    def say_nothing(request):
        asked.append(request)
        now[0] += 30
        raise httpx.ReadTimeout("nothing came")

    monkeypatch.setattr("prefloop.labelling.client.calling.time.monotonic", lambda: now[0])
    with (
        replying(say_nothing, patience=50, sleep=lambda _: None) as client,
        pytest.raises(UserError, match="though something takes the connection"),
    ):
        client.runs()
    assert len(asked) == 2


def test_what_would_do_harm_twice_is_said_once():
    """A server that takes the request and dies without a reply."""
    seen = []

    def answer(listening):
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                seen.append(connection.recv(1000))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer, args=(listening,))
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with LabellingClient(url, patience=1, sleep=lambda _: None) as client:
            with pytest.raises(UserError, match="look whether it did"):
                client.label_again("r")
            assert len(seen) == 1
            with pytest.raises(UserError, match="does not answer"):
                client.runs()
            assert len(seen) > 2
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize("url", ["http://[", "nonsense://x", ""])
def test_an_address_that_is_none(url):
    with (
        pytest.raises(UserError, match=r"no address|does not answer"),
        LabellingClient(url, patience=0, sleep=lambda _: None) as client,
    ):
        client.runs()


def test_what_is_the_same_twice_is_not_asked_about(server):
    queries = make_queries(3)
    first, second = queries.first.copy(), queries.second.copy()
    second[1] = first[1]
    with LabellingClient(server.url) as client:
        client.put_run("r", **FACTS)
        about = ask(client, "r", Queries(queries.segments, first, second))
        assert client.run("r").counts.queries == 2 and len(about) == 5
        (one, *_) = about
        with pytest.raises(RefusedError, match="compares a segment with itself"):
            client.add_queries("r", [(uuid.uuid4(), one, one)])
