"""Strangers who hold connections: they cost nobody else a reply."""

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import textwrap
import time

import httpx
import pytest
from conftest import ROOT
from empty_stores import empty_sqlite
from hostile import opened, reply_to
from serving import ServerProcess, serving

from prefloop.labelling.server import serving as server
from prefloop.labelling.server.addresses import UnderWay, WrongTokens, network_of
from prefloop.labelling.server.app import create_app
from prefloop.labelling.server.clips import ClipStore
from prefloop.labelling.server.config import SettingsFile
from prefloop.labelling.server.connections import ConnectionLimits, Gate
from prefloop.labelling.server.logs import CountingHandler, logging_to
from prefloop.labelling.server.security import make_tokens
from prefloop.labelling.server.storage.store import Store

HEALTH = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
SHORT = ConnectionLimits(head_seconds=0.3, idle_seconds=1, unread_seconds=0.3, connections=20)


@pytest.fixture
def serve(tmp_path):
    """Serves as `prefloop label` does, with limits of a test's; gives a client."""
    with contextlib.ExitStack() as stack:
        store = Store(empty_sqlite(tmp_path / "labels.sqlite3"))
        stack.callback(store.close)

        def client(limits=SHORT, behind_proxy=False, **kwargs):
            clips = ClipStore(tmp_path / "clips", 10**7)
            settings = SettingsFile(tmp_path / "labelling.yaml")
            app = create_app(store, clips, settings, **kwargs)
            config = server.uvicorn_config(app, limits, behind_proxy)
            return stack.enter_context(serving(app, config))

        yield client


def is_ended(connection, within=5.0):
    """Whether the other side ends a connection."""
    connection.settimeout(within)
    try:
        while connection.recv(65536):
            continue
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


def test_head_is_get_without_what_is_got(serve):
    client = serve()
    for path in ("/", "/api/health", "/api/runs", "/nowhere"):
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.text) == (got.status_code, "")
        assert head.headers["content-length"] == got.headers["content-length"]
    assert client.get("/api/health").status_code == 200  # on the connection of the last


# time


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        HEALTH + b"GET /api/health HTTP/1.1\r\nHo",  # the second request on the connection
    ],
)
def test_headers_that_never_end_are_given_up(serve, said):
    api = serve()
    with opened(api) as connection:
        connection.sendall(said)
        assert is_ended(connection)


@pytest.mark.parametrize("before", [b"", HEALTH])
def test_headers_that_come_a_byte_at_a_time_are_given_up(serve, before):
    api = serve()
    with opened(api) as connection, contextlib.suppress(ConnectionError):
        if before:
            assert reply_to(connection, before).startswith(b"HTTP/1.1 200")
        # so many take five seconds, and longer where the machine is busy and the server too
        for byte in b"GET /api/health HTTP/1.1\r\nX-Slow: " + b"a" * 215:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)
        pytest.fail("it may go on for ever")


def test_a_body_that_comes_although_nobody_wants_it_is_given_up(serve):
    api = serve(tokens=make_tokens().hashed)
    with opened(api) as connection:
        head = b"PUT /api/runs/x/training/video HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
        assert b"HTTP/1.1 4" in reply_to(connection, head)
        with pytest.raises(ConnectionError):
            for _ in range(200):  # four seconds, likewise
                connection.sendall(b"a")
                time.sleep(0.02)


def test_a_connection_that_asks_nothing_more_is_ended(serve):
    api = serve()
    with opened(api) as connection:
        assert reply_to(connection, HEALTH).startswith(b"HTTP/1.1 200")
        time.sleep(0.5)  # longer than headers may take: nothing has begun
        assert reply_to(connection, HEALTH).startswith(b"HTTP/1.1 200")
        assert is_ended(connection)


def test_a_reply_that_nobody_reads_is_given_up(serve, tmp_path):
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "large.js").write_bytes(b" " * 20_000_000)
    api = serve(static=tmp_path / "static")
    ask = b"GET /large.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with opened(api) as connection:
        connection.sendall(ask)
        time.sleep(5)  # several times as long as it may take, on a busy machine too
        read = 0
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(2**20):
                read += len(data)
        assert read < 20_000_000
    with opened(api) as connection:  # one that reads slowly, but reads, gets all
        connection.sendall(ask)
        read = 0
        while read < 20_000_000:
            read += len(connection.recv(2**20))
            time.sleep(0.02)


# number


def test_idle_connections_give_way(serve, caplog):
    api = serve(ConnectionLimits(connections=20))
    idle = [opened(api) for _ in range(60)]
    try:
        for _ in range(5):
            with opened(api) as connection:
                assert reply_to(connection, HEALTH).startswith(b"HTTP/1.1 200")
        alive = [connection for connection in idle if not is_ended(connection, 0.05)]
        assert 0 < len(alive) <= 10  # one address has half of the places at most
        assert idle[-1] in alive
    finally:
        for connection in idle:
            connection.close()
    assert "who waited longest was sent away" in caplog.text


class Place:
    def __init__(self):
        self.closed = False

    def close_now(self):
        self.closed = True


def test_who_is_served_is_not_sent_away():
    gate = Gate(ConnectionLimits(connections=4))
    at_work = [Place(), Place()]
    for place in at_work:
        assert gate.enter(place, "192.0.2.1")
        gate.works(place)
    # half of the places are this address's, all at work
    assert not gate.enter(Place(), "192.0.2.1")
    waiting, other, third = Place(), Place(), Place()
    assert gate.enter(waiting, "192.0.2.2")
    assert gate.enter(other, "192.0.2.3")
    gate.works(other)
    assert gate.enter(third, "192.0.2.4")
    assert (waiting.closed, other.closed, len(gate)) == (True, False, 4)
    gate.leave(waiting)  # its end is noticed later
    gate.leave(at_work[0])
    assert gate.enter(Place(), "192.0.2.1")
    assert not any(place.closed for place in at_work)


def test_a_proxys_connections_are_many_peoples():
    gate = Gate(ConnectionLimits(connections=4), proxies={"127.0.0.1"})
    places = [Place() for _ in range(4)]
    for place in places:
        assert gate.enter(place, "127.0.0.1")
        gate.works(place)
    assert not gate.enter(Place(), "127.0.0.1")


def test_limits_keep_below_the_limit_of_files():
    usual = ConnectionLimits()
    assert usual.within(2**16) == usual
    few = usual.within(1024)
    assert few.connections + 2 * few.backlog + 256 <= 1024
    assert few.connections >= 500
    assert usual.within(64).connections >= 16


IDLE = """
    import socket, sys
    sockets = []
    for _ in range(300):
        sockets.append(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no such limit")
def test_more_connections_than_files_can_be_open(tmp_path):
    home = {"HOME": str(tmp_path)}
    with ServerProcess("--home", str(tmp_path), env=home, files=256) as process:
        holding = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(IDLE), str(process.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        try:
            assert holding.stdout.readline() == b"open\n"
            with httpx.Client(base_url=process.url, trust_env=False) as client:
                for _ in range(10):
                    assert client.get("/api/health").status_code == 200
        finally:
            holding.communicate()
        _, output = process.stop()
    assert "Too many open files" not in output
    assert (tmp_path / server.LOG).stat().st_size < 20_000


# addresses


def test_whom_an_address_stands_for():
    assert network_of("192.0.2.7") == network_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:2")
    assert network_of("2001:db8::1") != network_of("2001:db8:0:1::1")
    assert network_of("fe80::1%eth0") == network_of("fe80::2")
    assert network_of("x" * 10_000) == network_of(None) == "unknown"


def refused(api, address):
    """The reply to an address whose requests are too many, once they have arrived."""
    deadline = time.monotonic() + 10
    while (
        reply := api.get("/api/health", headers={"x-forwarded-for": address})
    ).status_code != 503:
        assert time.monotonic() < deadline
    return reply


def test_requests_of_one_address_leave_room_for_others(serve):
    api = serve(ConnectionLimits(), behind_proxy=True, requests_per_address=2)
    slow = b"POST /api/answers HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nX-Forwarded-For: %s\r\n\r\n{"
    held = [opened(api) for _ in range(2)]
    for connection in held:
        connection.sendall(slow % b"192.0.2.1")
    same = refused(api, "192.0.2.1")
    assert same.headers["x-content-type-options"] == "nosniff"
    assert "of your address" in same.json()["detail"]
    other = api.get("/api/health", headers={"x-forwarded-for": "192.0.2.2"})
    assert other.status_code == 200
    for connection in held:
        connection.close()
    deadline = time.monotonic() + 10
    while api.get("/api/health", headers={"x-forwarded-for": "192.0.2.1"}).status_code != 200:
        assert time.monotonic() < deadline


def test_what_no_proxy_says_is_not_believed(serve):
    api = serve(ConnectionLimits(), requests_per_address=1)
    with opened(api) as connection:
        connection.sendall(
            b"POST /api/answers HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
        )
        assert refused(api, "192.0.2.2")


def test_requests_that_end_are_not_remembered():
    under_way = UnderWay(1)
    for host in ("192.0.2.1", "192.0.2.2"):
        assert under_way.enter(host)
        assert not under_way.enter(host)
        under_way.leave(host)
    assert not under_way._count


# tokens that are tried


def test_wrong_tokens_are_slowed_down_and_right_ones_are_not(serve):
    tokens, tried = make_tokens(), WrongTokens(free=3, seconds=0.3)
    api = serve(ConnectionLimits(), tokens=tokens.hashed, wrong_tokens=tried)

    def asked(token, path="/api/runs"):
        begun = time.monotonic()
        reply = api.get(path, headers={"authorization": f"Bearer {token}"})
        return reply, time.monotonic() - begun

    assert [asked("x")[0].status_code for _ in range(3)] == [401] * 3
    reply, seconds = asked("x")
    assert (reply.status_code, seconds >= 0.3) == (401, True)
    reply, seconds = asked("x", "/api/health")  # which says what a token allows
    assert (reply.json()["role"], seconds >= 0.3) == (None, True)
    counted = dict(tried._tried)
    for token in (tokens.annotator, tokens.trainer):
        assert asked(token)[0].status_code == 200
    assert tried._tried == counted  # which it would not be if they had been held back
    assert api.get("/api/health").json()["role"] is None  # without one


def test_many_wrong_tokens_at_once_are_not_held_back_all(serve):
    tried = WrongTokens(free=0, seconds=1.0, at_once=1)
    api = serve(ConnectionLimits(), tokens=make_tokens().hashed, wrong_tokens=tried)
    wrong = b"GET /api/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n"
    with opened(api) as first, opened(api) as second:
        first.sendall(wrong)
        deadline = time.monotonic() + 10
        while not tried._held:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert reply_to(second, wrong).startswith(b"HTTP/1.1 429")
        assert first.recv(65536).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("hosts", [1, 50])
def test_only_so_many_addresses_are_remembered(hosts):
    tried = WrongTokens(free=10**6, addresses=20)
    for i in range(100):
        assert asyncio.run(tried.hold(f"192.0.2.{i % hosts}"))
    assert len(tried) == min(hosts, 20)


def test_who_shows_no_token_has_nothing_large_to_send(serve):
    api = serve(ConnectionLimits(), tokens=make_tokens().hashed)
    with opened(api) as connection:
        head = (
            b"PUT /api/comparisons/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n"
        )
        assert reply_to(connection, head).startswith(b"HTTP/1.1 401")
    chunks = (b" " * 10_000 for _ in range(100))
    assert api.post("/api/runs/x/queries", content=chunks).status_code == 413


# the log


class Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def record(template, *args):
    return logging.LogRecord("prefloop", logging.INFO, "", 0, template, args, None)


def test_lines_that_repeat_are_counted():
    now, written = [0.0], Lines()
    handler = CountingHandler([written], lines=2, seconds=60, clock=lambda: now[0])
    for i in range(10):
        handler.handle(record("refused %r", f"/{i}"))
    handler.handle(record("another %s", 1))
    assert written.lines == ["refused '/0'", "refused '/1'", "another 1"]
    now[0] = 61
    handler.handle(record("another %s", 2))
    assert written.lines[3:] == ["8 more like this were left out: refused '/0'", "another 2"]
    for i in range(3):
        handler.handle(record("refused %r", f"/{i}"))
    handler.close()
    assert written.lines[5:] == ["refused '/0'", "refused '/1'", "1 more like this were left out: refused '/0'"]  # fmt: skip


def test_lines_of_ever_new_kinds_take_no_more_memory():
    written = Lines()
    handler = CountingHandler([written], lines=1)
    for i in range(2000):
        handler.handle(record(f"kind {i}"))
    assert len(handler._kinds) <= 500


def test_exceptions_of_different_places_are_different_lines():
    written = Lines()
    handler = CountingHandler([written], lines=1)
    for broken in (lambda: 1 / 0, lambda: [][0], lambda: 1 / 0):
        try:
            broken()
        except Exception:
            said = record("%s failed", broken)
            said.exc_info = sys.exc_info()
            handler.handle(said)
    assert len(written.lines) == 3


def test_the_log_is_its_owners_and_rotates(tmp_path, monkeypatch):
    monkeypatch.setattr("prefloop.labelling.server.logs.MAX_BYTES", 2000)
    path = tmp_path / "server.log"
    log = logging.getLogger("prefloop.test")
    with logging_to(path):
        for i in range(300):
            log.info(f"kind {i} of line")
        log.debug("not this")
    log.info("nor this")
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["server.log", *(f"server.log.{i}" for i in (1, 2, 3))]
    assert all(file.stat().st_size <= 2000 for file in files)
    if os.name != "nt":
        assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    assert "kind 299 of line" in path.read_text()
    assert "this" not in path.read_text()


def test_a_log_that_can_not_be_written_ends_in_a_sentence(run, tmp_path):
    (tmp_path / "home" / "server.log").mkdir(parents=True)
    outcome = run(f"prefloop.cli label --home {tmp_path / 'home'} --port 0")
    assert outcome.code == 2
    assert f"Can't write {tmp_path / 'home' / 'server.log'}" in outcome.err
