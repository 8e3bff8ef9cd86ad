"""What several tests of the labelling server begin with."""

import pytest

from prefloop.labelling.server.storage.store import Store


@pytest.fixture
def store(tmp_path):
    """An empty store of labels, closed afterwards."""
    store = Store(f"sqlite:///{tmp_path / 'labels.sqlite3'}")
    yield store
    store.close()
