"""Fixtures of the tests in which programs and people meet at a server."""

import time

import pytest
from serving import ServerProcess

from prefloop.labelling.client.calling import RefusedError
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.server.storage.trainings import ALIVE


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A labelling server, one for all tests of a module."""
    home = tmp_path_factory.mktemp("home")
    with ServerProcess("--home", str(home)) as process:
        yield process


@pytest.fixture
def known_server(server, monkeypatch):
    """Programs find the server."""
    monkeypatch.setenv("PREFLOOP_SERVER", server.url)


@pytest.fixture
def client(server):
    """What is on the server is gone after each test."""
    with LabellingClient(server.url) as client:
        yield client
        for run in client.runs():
            _delete(client, run.name)


def _delete(client, run):
    """A trainer that a failing test killed seems to be there for a while: the tests after it don't fail by it."""
    give_up = time.monotonic() + 2 * ALIVE.total_seconds()
    while True:
        try:
            return client.delete(run)
        except RefusedError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.5)
