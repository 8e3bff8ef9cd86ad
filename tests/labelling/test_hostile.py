"""What strangers may send: it is refused with a sentence, and nothing is stored or given away."""

import io
import json
import logging
import socket
import uuid
import zipfile
from contextlib import ExitStack

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from people import make_segment, segment_ids
from serving import serving

from prefloop.data import dataset
from prefloop.labelling.arrays import pad, to_archive
from prefloop.labelling.limits import as_shown
from prefloop.labelling.server import bodies, guard
from prefloop.labelling.server.app import create_app
from prefloop.labelling.server.clips import ClipStore
from prefloop.labelling.server.config import SettingsFile
from prefloop.labelling.server.security import make_tokens
from prefloop.labelling.server.storage.store import Store

RUN = "cartpole-01"
FACTS = {
    "env": "CartPole-v1",
    "spaces": {"obs_shape": [4], "obs_dtype": "float32", "discrete": True, "num_actions": 2},
}
SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}${7*7}"


def make_app(database_url, folder, **kwargs):
    (folder / "static").mkdir(exist_ok=True)
    (folder / "static" / "index.html").write_text("<!doctype html><title>page</title>")
    (folder / "secret.txt").write_text("secret")
    store = Store(database_url)
    return store, create_app(
        store,
        ClipStore(folder / "clips", 10**7),
        SettingsFile(folder / "labelling.yaml"),
        static=folder / "static",
        **kwargs,
    )


@pytest.fixture
def served(tmp_path):
    """Serves an application on SQLite; gives the store and a client."""
    with ExitStack() as stack:

        def serve(**kwargs):
            url = f"sqlite:///{tmp_path / 'labels.sqlite3'}"
            store, app = make_app(url, tmp_path, **kwargs)
            stack.callback(store.close)
            return store, stack.enter_context(serving(app))

        yield serve


def fill(api, name=RUN, **facts):
    assert api.put(f"/api/runs/{name}", json={**FACTS, **facts}).status_code == 200
    archive = to_archive(pad([make_segment(i) for i in range(20)]))
    ids = api.post(f"/api/runs/{name}/segments", content=archive).json()["ids"]
    asked = [{"id": str(uuid.uuid4()), "first": ids[i], "second": ids[i + 10]} for i in range(10)]
    assert api.post(f"/api/runs/{name}/queries", json={"queries": asked}).status_code == 204


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One server with a run, for tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("shared")
    store, app = make_app(f"sqlite:///{folder / 'labels.sqlite3'}", folder)
    with serving(app) as api:
        fill(api)
        yield store, api
    store.close()


# schemathesis, over the whole document


def attack(database_url, tmp_path, examples, derandomize):
    schemathesis = pytest.importorskip("schemathesis")
    modes = schemathesis.GenerationMode
    store, app = make_app(database_url, tmp_path)
    quiet = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        derandomize=derandomize,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    tried = set()
    with serving(app) as api:
        fill(api)
        schema = schemathesis.openapi.from_url(f"{api.base_url}/api/openapi.json")
        for result in schema.get_all_operations():
            operation = result.ok()
            for mode in (modes.POSITIVE, modes.NEGATIVE):

                @quiet
                @hypothesis.given(
                    operation.as_strategy(generation_mode=mode), strategies.booleans()
                )
                def check(case, known):
                    operation = case.operation
                    # most names that are made up are those of no run
                    keep = operation.method not in ("delete",) and "rename" not in operation.path
                    if known and keep and "name" in (case.path_parameters or {}):
                        case.path_parameters["name"] = RUN
                    reply = case.call()
                    assert reply.status_code < 500, (case.as_curl_command(), reply.text)
                    if reply.status_code >= 400:
                        assert isinstance(reply.json()["detail"], str)
                        assert "Traceback" not in reply.text
                    tried.add((operation.method, operation.path))

                try:
                    check()
                except hypothesis.errors.Unsatisfiable:
                    assert mode is modes.NEGATIVE  # what takes nothing can be given nothing wrong
        assert api.get("/api/health").status_code == 200
        paths = api.get("/api/openapi.json").json()["paths"]
    store.close()
    assert tried == {(method, path) for path, methods in paths.items() for method in methods}


def test_no_request_breaks_the_server(tmp_path):
    attack(f"sqlite:///{tmp_path / 'labels.sqlite3'}", tmp_path, examples=8, derandomize=True)


@pytest.mark.slow
def test_many_requests_do_not_break_the_server(database_url, tmp_path):
    attack(database_url, tmp_path, examples=150, derandomize=False)


# text


TEXTS = [SCRIPT, "Robert'); DROP TABLE runs;--", "😀 مرحبا", "\u202ereversed %s%n{}"]


@pytest.mark.parametrize("text", TEXTS)
def test_what_users_type_comes_back_as_data(served, text):
    store, api = served()
    fill(api, instructions=text)
    wish = {"annotator": text[:64], "session": str(uuid.uuid4())}
    (given,) = api.post(f"/api/runs/{RUN}/leases", json=wish).json()["queries"]
    answer = {"id": str(uuid.uuid4()), "lease": given["lease"], "choice": "left"}
    assert api.post("/api/answers", json=answer).status_code == 200
    reply = api.get(f"/api/runs/{RUN}")
    assert reply.json()["instructions"] == text
    # no browser takes it for a page, whoever opens it
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-content-type-options"] == "nosniff"
    results = api.get(f"/api/runs/{RUN}/results").json()
    assert results["annotators"][0]["annotator"] == as_shown(text[:64])
    export = api.get(f"/api/runs/{RUN}/export").content
    (line,) = zipfile.ZipFile(io.BytesIO(export)).read(dataset.PREFERENCES).splitlines()
    assert json.loads(line)["annotator"] == as_shown(text[:64])
    assert len(store.runs.all()) == 1


@pytest.mark.parametrize(
    "text",
    ["", "   ", "\u200b", "\u202e \u2066", "\u0958" * 40, "a\0b", "a\nb", "a\x1b[2J", "a" * 65],
)
def test_names_that_are_none(shared, text):
    _, api = shared
    reply = api.post(
        f"/api/runs/{RUN}/leases", json={"annotator": text, "session": str(uuid.uuid4())}
    )
    assert reply.status_code == 422
    assert reply.json()["detail"].startswith("annotator: ")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b"{}" * 1000, b"[" * 50_000,
        b'{"annotator": "\\ud800", "session": "00000000000000000000000000000000"}',
        b'{"annotator": "ada", "session": "x"}',
        b'{"annotator": "ada", "session": "00000000000000000000000000000000", "count": NaN}',
        b'{"annotator": "ada", "session": "00000000000000000000000000000000", "count": 1e999}',
        b'{"annotator": "ada", "session": "00000000000000000000000000000000", "count": ' + b"9" * 5000 + b"}",
        b'{"annotator": "ada", "session": "00000000000000000000000000000000", "\\ud800": 1}',
    ],
)  # fmt: skip
def test_bodies_that_are_none(shared, body):
    _, api = shared
    headers = {"content-type": "application/json"}
    reply = api.post(f"/api/runs/{RUN}/leases", content=body, headers=headers)
    assert reply.status_code in (400, 422)
    assert set(reply.json()) == {"detail"}
    assert isinstance(reply.json()["detail"], str)


@pytest.mark.parametrize("name", ["..", "a b", "-x", "a/b", "<script>", "x" * 65, "%00", "a\u0301"])
def test_runs_are_named_by_plain_words(shared, name):
    store, api = shared
    before = [run.name for run in store.runs.all()]
    assert api.put(f"/api/runs/{name}", json=FACTS).status_code in (404, 405, 422)
    assert api.post(f"/api/runs/{RUN}/rename", json={"name": name}).status_code == 422
    assert [run.name for run in store.runs.all()] == before


# files


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt", "/..%2fsecret.txt", "/%2e%2e/secret.txt", "/..\\secret.txt", "//secret.txt",
        "/static/../../secret.txt", "/.%00./secret.txt", "/clips/../secret.txt",
        "/clips/..%2f..%2fsecret.txt", "/clips/%2e%2e%2fsecret.mp4", "/clips/secret.mp4",
        "/clips/" + "0" * 64 + ".mp4", "/clips/" + "A" * 64 + ".mp4", "/labels.sqlite3",
        "/index.html/../../secret.txt", "/c:/windows/win.ini", "/" + "a" * 5000, "/api/runs/..%2f..",
        "/clips/" + "0" * 64 + "%0a.mp4",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_page(shared, path):
    _, api = shared
    with socket.create_connection((api.base_url.host, api.base_url.port)) as connection:
        # as it is: a client library would tidy it up
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        reply = b"".join(iter(lambda: connection.recv(65536), b""))
    status = int(reply.split()[1])
    assert 300 <= status < 500
    assert b"secret" not in reply.partition(b"\r\n\r\n")[2]
    assert b"SQLite" not in reply


# uploads


def test_uploads_that_are_too_large_are_not_read(served):
    store, api = served()
    fill(api)
    segment = next(iter(segment_ids(store, RUN)))
    for method, path in (
        ("POST", f"/api/runs/{RUN}/segments"),
        ("PUT", f"/api/segments/{segment}/clip"),
        ("POST", f"/api/runs/{RUN}/queries"),
        ("POST", f"/api/runs/{RUN}/leases"),
        ("POST", "/api/answers"),
    ):
        limit = bodies.body_limit(path)
        with socket.create_connection((api.base_url.host, api.base_url.port)) as connection:
            head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {limit + 1}\r\n\r\n"
            connection.sendall(head.encode())
            # the refusal comes before a byte of the body was sent
            assert connection.recv(1000).startswith(b"HTTP/1.1 413")
    for length in ("-1", "1e9", "9" * 4500):
        with socket.create_connection((api.base_url.host, api.base_url.port)) as connection:
            head = (
                f"POST /api/answers HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
            )
            connection.sendall(head.encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize(
    ("request_line", "token", "length", "status"),
    [
        ("POST /api/answers", "", bodies.MAX_JSON + 1, 413),  # refused at the door,
        (f"POST /api/runs/{RUN}/segments", "nobody's", 300_000, 401),  # by who may do what,
        ("POST /api/nothing", "", 50_000, 405),  # since there is no such route
    ],
)
def test_who_is_refused_is_not_cut_off_while_they_send(served, request_line, token, length, status):
    """Or else a proxy, which sends on before it listens, says that nothing answers here."""
    _, api = served(tokens=make_tokens().hashed)
    head = f"{request_line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n"
    head += f"Authorization: Bearer {token}\r\n" if token else ""
    with socket.create_connection((api.base_url.host, api.base_url.port)) as connection:
        connection.sendall(f"{head}\r\n".encode())
        connection.settimeout(5)
        assert connection.recv(1000).startswith(f"HTTP/1.1 {status}".encode())
        for _ in range(length // 100):
            connection.sendall(b" " * 100)
        connection.sendall(b" " * (length % 100))
        while connection.recv(1000):  # to its end, which is none by a reset
            continue


def test_a_body_without_a_length_is_counted(served, monkeypatch):
    monkeypatch.setattr(bodies, "MAX_JSON", 1000)
    _, api = served()
    chunks = (b" " * 400 for _ in range(10))
    reply = api.post("/api/answers", content=chunks)
    assert reply.status_code == 413
    assert reply.json()["detail"] == "At most 1000 bytes can be sent here."


def test_a_half_sent_upload_stores_nothing(served, tmp_path, caplog):
    caplog.set_level(logging.INFO, "prefloop")
    store, api = served()
    fill(api)
    archive = to_archive(pad([make_segment(i) for i in range(100, 120)]))
    before = len(segment_ids(store, RUN))
    segment = next(iter(segment_ids(store, RUN)))
    for method, path in (
        ("POST", f"/api/runs/{RUN}/segments"),
        ("PUT", f"/api/segments/{segment}/clip"),
    ):
        with socket.create_connection((api.base_url.host, api.base_url.port)) as connection:
            head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(archive)}\r\n\r\n"
            connection.sendall(head.encode() + archive[: len(archive) // 2])
    # half of it as if it were all
    assert api.post(f"/api/runs/{RUN}/segments", content=archive[:-50]).status_code == 400
    assert len(segment_ids(store, RUN)) == before
    assert list((tmp_path / "clips").glob("*")) == []
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_body_that_never_ends_is_given_up(served, monkeypatch):
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.2)
    _, api = served()
    with socket.create_connection((api.base_url.host, api.base_url.port)) as connection:
        connection.sendall(
            b"POST /api/answers HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")


def test_pickles_are_not_opened(served):
    _, api = served()
    fill(api)

    class Evil:
        def __reduce__(self):
            return (print, ("opened",))

    buffer = io.BytesIO()
    np.savez(buffer, obs=np.array([Evil()], dtype=object), actions=np.zeros((1, 1), np.int64))
    reply = api.post(f"/api/runs/{RUN}/segments", content=buffer.getvalue())
    assert reply.status_code == 400
    assert "something else than numbers" in reply.json()["detail"]


# who asks


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200), ("own", 200), ("http://evil.example", 403), ("null", 403), ("", 403),
        ("http://127.0.0.1:1", 403), ("http://127.0.0.1.evil.example", 403), ("file://", 403),
        ("chrome-extension://x", 403), ("http://localhost", 403),
    ],
)  # fmt: skip
def test_pages_of_other_sites_can_not_write(shared, origin, status):
    store, api = shared
    before, name = len(store.runs.all()), f"run-{uuid.uuid4()}"
    own = str(api.base_url).rstrip("/")
    headers = {} if origin is None else {"origin": own if origin == "own" else origin}
    reply = api.put(f"/api/runs/{name}", json=FACTS, headers=headers)
    assert reply.status_code == status
    assert len(store.runs.all()) - before == (status == 200)
    # and nothing lets them read
    assert not any(name.startswith("access-control") for name in reply.headers)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "[::2]", "localhost.", "x@localhost"]
)  # fmt: skip
def test_a_name_that_was_pointed_here_is_refused(shared, host):
    _, api = shared
    reply = api.get("/api/runs", headers={"host": host})
    assert reply.status_code == 400
    assert "not known by that name" in reply.json()["detail"]
    assert api.get("/", headers={"host": host}).status_code == 400


def test_a_refusal_carries_the_headers_and_is_logged(shared, caplog):
    _, api = shared
    reply = api.get("/api/runs%1b[2J", headers={"host": "evil.example"})
    for name, value in guard.HEADERS.items():
        assert reply.headers[name] == value
    logged = [r.getMessage() for r in caplog.records if "refused" in r.getMessage()]
    assert len(logged) == 1
    assert "\x1b" not in logged[0]


def test_wrong_tokens(served):
    store, api = served(tokens=make_tokens().hashed)
    for value in ("", "Bearer", "Bearer x", "Basic eDp5", "bearer " + "a" * 5000, "Bearer \xff"):
        headers = {"authorization": value.encode("latin-1")}
        reply = api.put(f"/api/runs/{RUN}", json=FACTS, headers=headers)
        assert reply.status_code == 401, value
        assert reply.headers["www-authenticate"] == "Bearer"
    assert store.runs.all() == []


# what goes wrong inside


def test_no_stack_trace_leaves_the_server(served, monkeypatch, caplog):
    store, api = served()

    def broken():
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(store.runs, "all", broken)
    reply = api.get("/api/runs")
    assert reply.status_code == 500
    assert reply.json() == {"detail": "Something went wrong in the server; its log says what."}
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "the secret is 42" in caplog.text


def test_a_database_that_goes_away_is_told(served, tmp_path):
    store, api = served()
    fill(api)
    store._database._engine.dispose()
    (tmp_path / "labels.sqlite3").write_bytes(b"broken" * 10_000)
    for path in ("labels.sqlite3-wal", "labels.sqlite3-shm"):
        (tmp_path / path).unlink(missing_ok=True)
    reply = api.get("/api/runs")
    assert reply.status_code == 503
    assert "can't be read" in reply.json()["detail"]
    assert "/" not in reply.json()["detail"]


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("ame\u0301lie", "am\u00e9lie"), ("\u202eada", "ada"), ("a\u200bd\u2060a\ufeff", "ada"),
        ("ada\u00ad", "ada"), ("\u2066bob\u2069", "bob"), ("ada\u3164", "ada"), ("ada\ufe0f", "ada"),
        ("ada\u00a0\u2003lovelace", "ada lovelace"), ("ada  lovelace", "ada lovelace"),
        ("\u0627\u062f\u0627", "\u0627\u062f\u0627"), ("\U0001f600", "\U0001f600"),
    ],
)  # fmt: skip
def test_names_that_look_alike_are_one(served, typed, kept):
    store, api = served()
    fill(api)
    wish = {"annotator": typed, "session": str(uuid.uuid4())}
    (given,) = api.post(f"/api/runs/{RUN}/leases", json=wish).json()["queries"]
    answer = {"id": str(uuid.uuid4()), "lease": given["lease"], "choice": "left"}
    assert api.post("/api/answers", json=answer).status_code == 200
    assert [event.annotator for event in store.labels.current(RUN)] == [kept]
    undo = {"id": str(uuid.uuid4()), "run": RUN, "annotator": kept, "session": wish["session"]}
    assert api.post("/api/undo", json=undo).status_code == 200


def test_two_agents_of_an_arena_do_not_look_alike(shared):
    _, api = shared
    agents = [{"name": "best", "digest": "1" * 64}, {"name": "be\u200bst", "digest": "2" * 64}]
    reply = api.put("/api/runs/alike", json={**FACTS, "agents": agents})
    assert reply.status_code == 422 and "two agents have one name" in reply.json()["detail"]
