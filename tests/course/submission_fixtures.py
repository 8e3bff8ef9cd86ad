"""A student's folder, for the files of tests that name this module in `pytest_plugins`."""

import shutil

import pytest
from conftest import ROOT

from course.checks import REFERENCE


@pytest.fixture
def submission(tmp_path):
    """The solution as a student's folder, to be spoiled."""
    folder = tmp_path / "student"
    folder.mkdir()
    for name in ("utils.py", "offline_reward_learning.py"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(REFERENCE, folder, dirs_exist_ok=True)
    return folder
