"""Fixtures of the tests in which programs and people meet at a server."""

import pytest
from serving import ServerProcess

from prefloop.labelling.client.client import LabellingClient


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
            client.delete(run.name)
