"""What the pages of sweeps are written of."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

STATIC = Path(__file__).with_name("static")


def whole_page(title: str, body: str, script: str = "") -> str:
    """A page that opens without a server.

    Args:
        script: a file of `static/`.
    """
    look = (STATIC / "page.css").read_text(encoding="utf-8")
    does = f"\n<script>{(STATIC / script).read_text(encoding='utf-8')}</script>" if script else ""
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{html.escape(title)}</title>
<style>{look}</style>
<h1>{html.escape(title)}</h1>
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
    return f"<table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"
