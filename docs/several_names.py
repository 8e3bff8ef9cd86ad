"""Docstrings for the site: `mean, std: ...` is a line about two parameters, which griffe takes for one."""

import re
from typing import Any

import griffe

# the names, and what is said of them up to the next line that is no deeper
LINE = re.compile(r"^    (\w+(?:, \w+)+): (.*(?:\n {5,}.*)*)", re.MULTILINE)


class SeveralNames(griffe.Extension):
    """Gives each name a line of its own."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for everything that can have a docstring."""
        if obj.docstring is not None:
            obj.docstring.value = LINE.sub(_lines, obj.docstring.value)


def _lines(line: re.Match[str]) -> str:
    return "\n".join(f"    {name}: {line[2]}" for name in line[1].split(", "))
