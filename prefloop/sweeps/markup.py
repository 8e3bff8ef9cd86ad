"""What the pages of sweeps are written of."""

import html
from collections.abc import Iterable, Mapping, Sequence
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
    """A table whose columns are all those that a line has."""

    def row(cells: Iterable[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    columns = list(dict.fromkeys(name for line in lines for name in line))
    body = "\n".join(row([line.get(name, "") for name in columns], "td") for line in lines)
    return f"<table>\n<thead>{row(columns, 'th')}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"
