"""A server's folder, taken while people label, and a server on it."""

import os
import stat
import threading
import time
import uuid

from conftest import assert_one_sentence
from pages import clip_of, make_segments
from people import FACTS, make_segment
from serving import ServerProcess
from standing import done_is_what_stands

from prefloop.labelling.arrays import pad
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.server.storage.store import Store

RUN = "cartpole-01"


def fill(client, num_queries):
    client.put_run(RUN, FACTS.env, FACTS.spaces)
    segments = client.add_segments(RUN, pad([make_segment(i) for i in range(2 * num_queries)]))
    pairs = zip(segments[::2], segments[1::2], strict=True)
    client.add_queries(RUN, [(uuid.uuid4(), *pair) for pair in pairs])
    video = clip_of(make_segments(1, 5, 0)[0])
    return segments[0], client.put_clip(segments[0], video), video


class People:
    """Annotators who label until they are told to stop, and take back one answer of five."""

    def __init__(self, url, number):
        self.said, self.stop, self.failures = {}, threading.Event(), []
        self.threads = [threading.Thread(target=self.label, args=(url, i)) for i in range(number)]

    def label(self, url, number):
        session = uuid.uuid4()
        try:
            with LabellingClient(url) as client:
                while not self.stop.is_set():
                    (given,) = client.lease(RUN, f"annotator {number}", session).queries
                    id = uuid.uuid4()
                    client.answer(id, given.lease, "left", seconds=1.5)
                    self.said[id] = time.monotonic()
                    if len(self.said) % 5 == 0:
                        client.undo(uuid.uuid4(), RUN, f"annotator {number}", session)
        except Exception as error:
            self.failures.append(error)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        assert self.failures == []


def test_people_label_while_it_is_taken(run, database_url, tmp_path):
    home, folder = tmp_path / "home", tmp_path / "backup"
    elsewhere = "" if database_url.startswith("sqlite") else database_url
    flags = ["--home", str(home), *(["--database-url", elsewhere] if elsewhere else [])]
    command = f"prefloop.cli runs backup {folder} --home {home}"
    with ServerProcess(*flags) as server:
        with LabellingClient(server.url) as client:
            _, clip, video = fill(client, 400)
        with People(server.url, 4) as people:
            while len(people.said) < 30:
                time.sleep(0.02)
            before = set(people.said)
            outcome = run(f"{command} --database_url {elsewhere}" if elsewhere else command)
            assert outcome.code == 0, outcome.err
            while len(people.said) < len(before) + 30:
                time.sleep(0.02)
        if elsewhere:
            outcome = run(command.replace("/backup", "/other"))
            assert_one_sentence(outcome, "keeps its labels in postgresql", "--database_url")
    # every label that was acknowledged before is in it, and none is there by half
    store = Store(f"sqlite:///{folder / 'labels.sqlite3'}")
    assert done_is_what_stands(store)
    events = store.labels.since(RUN).events
    store.close()
    given = {event.id for event in events if event.kind == "answer"}
    assert before <= given < set(people.said)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    # a server on it has it all, and goes on
    with ServerProcess("--home", str(folder)) as server, LabellingClient(server.url) as client:
        assert [event.id for event in client.all_labels(RUN)] == [event.id for event in events]
        assert client._call("GET", clip).content == video
        with People(server.url, 1) as people:
            while len(people.said) < 3:
                time.sleep(0.02)
        assert client.labels(RUN).events[-1].number > len(events)


def test_settings_and_tokens_hold_in_it(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    home, folder = tmp_path / ".prefloop" / "pilot", tmp_path / "backup"
    with ServerProcess("--profile", "pilot", "--tokens") as server:
        told = "".join(server.process.stdout.readline() for _ in range(2))
        monkeypatch.setenv("PREFLOOP_TOKEN", told.partition("PREFLOOP_TOKEN=")[2].split()[0])
        (home / "labelling.yaml").write_text("allow_ties: false\n")
    outcome = run(f"prefloop.cli runs backup {folder} --profile pilot")  # of one that was killed
    assert outcome.code == 0, outcome.err
    assert f"To use it: prefloop label --home {folder}" in outcome.out
    assert {path.name for path in folder.iterdir()} == {
        "labels.sqlite3",
        "labelling.yaml",
        "tokens.json",
        "pseudonyms.key",
    }
    if os.name != "nt":
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert modes["labels.sqlite3"] == modes["tokens.json"] == modes["pseudonyms.key"] == 0o600
    with (
        ServerProcess("--home", str(folder), "--tokens") as server,
        LabellingClient(server.url, os.environ["PREFLOOP_TOKEN"]) as client,
    ):
        assert client.health().role == "trainer"
        settings = client._call("GET", "/api/settings").json()
        assert settings["values"]["allow_ties"] is False


def test_what_can_not_be_backed_up(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert_one_sentence(run("prefloop.cli runs backup new"), "There is no database")
    assert not (tmp_path / "new").exists()
    (tmp_path / "there").mkdir()
    assert_one_sentence(run("prefloop.cli runs backup there"), "there exists already")
    for words, sentence in [
        ("backup new --server http://127.0.0.1:8000", "backup asks no --server"),
        ("copy --from sqlite:///a", "copy takes --from and --to"),
        ("list --to sqlite:///a", "copy takes --from and --to, and nothing else does"),
        ("list --home there", "list has no --home"),
        ("backup", "backup takes FOLDER after it"),
        ("copy --from mysql://a --to sqlite:///b", "SQLite or PostgreSQL, not in mysql"),
    ]:
        assert_one_sentence(run(f"prefloop.cli runs {words}"), sentence)
    with ServerProcess("--home", str(tmp_path / "home")):
        outcome = run(
            f"prefloop.cli runs backup new --home {tmp_path / 'home'} --database_url sqlite:///other"
        )
        assert_one_sentence(outcome, "keeps its labels there and not in sqlite:///other")


def test_a_store_is_copied_by_a_command(run, tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'labels.sqlite3'}")
    store.runs.put(RUN, FACTS)
    store.close()
    command = f"prefloop.cli runs copy --from sqlite:///{tmp_path / 'labels.sqlite3'} --to "
    outcome = run(f"{command}sqlite:///{tmp_path / 'other.sqlite3'}")
    assert outcome.code == 0, outcome.err
    (line,) = (line for line in outcome.out.splitlines() if line.startswith("runs "))
    assert line.split()[1] == "1" and len(line.split()[2]) == 16
    assert "each table is the same in both" in outcome.out
    again = run(f"{command}sqlite:///{tmp_path / 'other.sqlite3'}")
    assert_one_sentence(again, "holds labels already")
