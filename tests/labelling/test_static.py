"""The page's modules: what they import is there for whoever has the repository."""

import os
import re
import subprocess

import pytest
from conftest import ROOT

from prefloop.labelling.server.app import STATIC

IMPORTED = re.compile(r"""\b(?:from|import)\s*\(?\s*["'](\.[^"']+)["']""")
MODULES = sorted((STATIC / "js").rglob("*.js"))


def known_files():
    """The files of the page that git tracks; those that are there, where there is no git."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--", str(STATIC)], cwd=ROOT, capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        listed = None
    names = os.fsdecode(listed.stdout).split("\0") if listed else []
    return {ROOT / name for name in names if name} or set(STATIC.rglob("*.*"))


@pytest.fixture(scope="module")
def known():
    return known_files()


@pytest.mark.parametrize("module", MODULES, ids=[str(one.relative_to(STATIC)) for one in MODULES])
def test_what_a_module_imports_is_in_the_repository(module, known):
    imported = IMPORTED.findall(module.read_text(encoding="utf-8"))
    missing = [name for name in imported if (module.parent / name).resolve() not in known]
    assert missing == []


def test_imports_are_found():
    assert IMPORTED.findall('import { a } from "./a.js";\nimport "../b.js";') == ["./a.js", "../b.js"]  # fmt: skip
    assert IMPORTED.findall((STATIC / "js" / "main.js").read_text(encoding="utf-8"))
