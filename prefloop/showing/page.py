"""The page of policies side by side: a folder that opens from disk, without a server and without a network."""

import base64
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from prefloop.errors import UserError
from prefloop.evaluation.markup import inline_json, plain, whole_page
from prefloop.files import encodable, write_atomically

PAGE, DATA = "index.html", "show.json"
STATIC = Path(__file__).with_name("static")
LABELLING = files("prefloop.labelling.server").joinpath("static")
# what the labelling page shows comparisons with, and clips and their rewards
SCRIPTS = {
    "common": ("dom", "keys", "player", "rewardtrace", "video", "words"),
    "words": ("en",),
    "comparisons": ("comparison", "gallery", "panel", "returnchart", "stage", "transport"),
}


def require_free(folder: Path, is_own: bool) -> None:
    """Refuses a folder in which something stands that is to stay.

    Args:
        is_own: a page that stands there may be replaced by a new one.

    Raises:
        UserError: says what to do instead.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; a directory is needed.")
    if folder.samefile(Path.cwd()):
        raise UserError(f"{folder} is the folder you are in; give --export a folder of its own.")
    try:
        is_empty = not any(folder.iterdir())
    except OSError as error:
        raise UserError(f"Can't read the directory {folder}: {error.strerror}.") from None
    if not (is_empty or (is_own and (folder / DATA).is_file())):
        raise UserError(f"{folder} holds something already; choose another folder by --export.")


def write_page(folder: Path, about: Mapping[str, Any]) -> None:
    """Writes the page, and what it shows as show.json, beside the videos.

    Args:
        about: as `gathering.gather` gives it.

    Raises:
        UserError: it can't be written.
    """
    names = ", ".join(run["name"] for run in about["runs"])
    title = f"{names} in {about['env']}"
    sheets = (
        STATIC / "show.css",
        LABELLING.joinpath("css", "reward.css"),
        LABELLING.joinpath("css", "comparison.css"),
    )
    style = "".join(file.read_text(encoding="utf-8") for file in sheets)
    body = f"""<main class="comparison"><h1>{html.escape(title)}</h1><noscript><p>The page needs JavaScript.</p></noscript></main>
<script type="application/json" id="data">{inline_json(about)}</script>
<script type="importmap">{json.dumps({"imports": _modules()})}</script>
<script type="module">
import {{ showComparison }} from "comparison.js";
showComparison(document.querySelector("main"), JSON.parse(document.getElementById("data").textContent));
</script>"""
    page = whole_page(title, body, style)
    write_atomically(folder / DATA, (json.dumps(plain(about)) + "\n").encode())
    write_atomically(folder / PAGE, encodable(page).encode())


def _modules() -> dict[str, str]:
    """All scripts by name, each as an address that holds it: browsers load no module from a file."""
    places = [
        LABELLING.joinpath("js", room, f"{name}.js")
        for room, names in SCRIPTS.items()
        for name in names
    ]
    modules = {}
    for place in places:
        # ../common/x.js has no meaning seen from such an address, x.js is looked up in this map
        text = re.sub(
            r'(from ")\.{1,2}/(?:(?:common|words)/)?', r"\1", place.read_text(encoding="utf-8")
        )
        coded = base64.b64encode(text.encode()).decode()
        modules[place.name] = f"data:text/javascript;charset=utf-8;base64,{coded}"
    return modules
