"""Folders and zip files as students hand them in."""

import shutil
import zipfile

import pytest
from submitted import damaged

from course.submissions import opened
from prefloop.errors import UserError

pytest_plugins = ["submission_fixtures"]


@pytest.mark.parametrize("name", ["../evil.py", "/tmp/evil.py", "C:/evil.py"])
def test_a_zip_that_leads_elsewhere(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, "x")
        archive.writestr("utils.py", "y")
    with opened(tmp_path / "a.zip") as folder:
        assert [path.name for path in folder.rglob("*") if path.is_file()] == ["utils.py"]
    assert not (tmp_path / "evil.py").exists()


@pytest.mark.parametrize("kind", ["ZIP_STORED", "ZIP_DEFLATED", "ZIP_LZMA", "ZIP_BZIP2"])
def test_a_damaged_zip_is_a_sentence(tmp_path, kind):
    damaged(tmp_path / "a.zip", getattr(zipfile, kind))
    with pytest.raises(UserError, match=r"a\.zip"), opened(tmp_path / "a.zip"):
        pass


def test_a_zip_with_a_member_that_has_no_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(".", "x")
        archive.writestr("Homework: 1/utils.py", "y")
    with opened(tmp_path / "a.zip") as folder:
        assert [path.name for path in folder.iterdir()] == ["utils.py"]


def test_what_goes_wrong_while_grading_is_not_laid_to_the_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("utils.py", "y")
    with pytest.raises(BlockingIOError), opened(tmp_path / "a.zip"):
        raise BlockingIOError("no more processes")


def test_a_folder_of_several_students_is_not_one(submission, tmp_path):
    """Whoever forgets the star would get the first one's grade for all."""
    for place in ("all/ada", "all/bea/homework"):
        shutil.copytree(submission, tmp_path / place)
    shutil.rmtree(tmp_path / "all/bea/homework/rlhf")
    with pytest.raises(UserError, match="several submissions"), opened(tmp_path / "all"):
        pass
    # an earlier state within one's own folder is no other submission
    shutil.copytree(submission, submission / "before")
    with opened(submission) as folder:
        assert folder == submission


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big", bytes(2**28 + 1))
    with pytest.raises(UserError, match="too large"), opened(tmp_path / "a.zip"):
        pass
