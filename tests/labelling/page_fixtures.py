"""Fixtures of the tests of the page."""

import pytest
from pages import Site, chromium


@pytest.fixture(scope="module")
def browser():
    """A Chromium."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def site(tmp_path):
    """An application that is served."""
    with Site(tmp_path) as site:
        yield site
