"""What several tests of the labelling server begin with."""

from contextlib import ExitStack

import pytest
from empty_stores import empty_sqlite
from serving import serving

from prefloop.labelling.server.app import create_app
from prefloop.labelling.server.clips import ClipStore
from prefloop.labelling.server.config import SettingsFile
from prefloop.labelling.server.storage.store import Store


@pytest.fixture
def store(tmp_path):
    """An empty store of labels, closed afterwards."""
    store = Store(empty_sqlite(tmp_path / "labels.sqlite3"))
    yield store
    store.close()


@pytest.fixture
def serve(store, tmp_path):
    """Makes a client of a server."""
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "index.html").write_text("<!doctype html><title>page</title>")
    (tmp_path / "secret.txt").write_text("secret")

    with ExitStack() as stack:

        def client(**kwargs):
            app = create_app(
                store,
                ClipStore(tmp_path / "clips", 10**7),
                SettingsFile(tmp_path / "labelling.yaml"),
                static=tmp_path / "static",
                **kwargs,
            )
            return stack.enter_context(serving(app))

        yield client


@pytest.fixture
def api(serve):
    return serve()
