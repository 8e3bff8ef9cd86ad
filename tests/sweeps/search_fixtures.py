"""A small search, as a file."""

import pytest
from given import SEARCH


@pytest.fixture
def study(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(SEARCH.format(root=tmp_path))
    return file
