"""What pages are written of that open from disk, without a server and without a network."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

STATIC = Path(__file__).with_name("static")
DIGITS = 5  # of a number in a curve: nobody sees more


def whole_page(title: str, body: str, style: str = "", script: str = "") -> str:
    """A page in one file.

    Args:
        title: as text.
        body: as HTML, with its heading.
        style: CSS, which comes after `page.css`.
        script: JavaScript, which comes after the body.
    """
    shared = (STATIC / "page.css").read_text(encoding="utf-8")
    does = f"\n<script>{script}</script>" if script else ""
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{html.escape(title)}</title>
<style>{shared}{style}</style>
{body}{does}
</html>
"""


def table_of(lines: Sequence[Mapping[str, str]]) -> str:
    """A table whose columns are all those that a line has; numbers stand on the right, words on the left."""
    columns = list(dict.fromkeys(name for line in lines for name in line))
    words = {name for name in columns if any(line.get(name, "")[:1].isalpha() for line in lines)}

    def row(cells: Mapping[str, str], tag: str) -> str:
        written = (
            f"<{tag}{' class=words' * (name in words)}>{html.escape(cells.get(name, ''))}</{tag}>"
            for name in columns
        )
        return "<tr>" + "".join(written) + "</tr>"

    head = row({name: name for name in columns}, "th")
    body = "\n".join(row(line, "td") for line in lines)
    return (
        f"<div class=wide><table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def inline_json(content: Any) -> str:
    """JSON of `plain` content that can't end the script that it stands in."""
    return json.dumps(plain(content)).replace("<", "\\u003c")


def plain(value: Any) -> Any:
    """Content as JSON has it: arrays as lists of short numbers, files of videos as addresses that hold them."""
    if isinstance(value, np.ndarray):
        return [float(f"{x:.{DIGITS}g}") for x in value]
    if isinstance(value, Mapping):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, Path):
        return f"data:video/mp4;base64,{base64.b64encode(value.read_bytes()).decode()}"
    return value
