from pathlib import Path

import pytest
from people import Clock, seeded

from prefloop.labelling.storage.store import Store


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(database_url, clock):
    store = Store(database_url, clock, seeded())
    yield store
    store.close()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'labels.sqlite3'}"
