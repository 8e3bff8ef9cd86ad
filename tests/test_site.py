"""The pages as a site: nothing broken, nothing from another host, formulas and pictures shown."""

import contextlib
import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pages import NEEDS_CHROMIUM, chromium, opened

ROOT = Path(__file__).resolve().parents[1]
SHOWN = """() => ({
    formulas: document.querySelectorAll(".arithmatex").length,
    set: document.querySelectorAll(".arithmatex > .katex, .arithmatex > .katex-display").length,
    mistakes: document.querySelectorAll(".katex-error").length,
    pictures: document.images.length,
    drawn: [...document.images].filter(image => image.naturalWidth > 0).length,
    tooWide: document.documentElement.scrollWidth > innerWidth,
})"""


def build(root, site):
    for name in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(name)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site's folder."""
    folder = tmp_path_factory.mktemp("site")
    outcome = build(ROOT, folder)
    assert outcome.returncode == 0, outcome.stderr
    return folder


@contextlib.contextmanager
def served(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_every_page_has_a_place(site):
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    made = {path.relative_to(site).with_suffix(".md").as_posix() for path in site.rglob("*.html")}
    readme_twice = {"index.md", "assignment.md"}
    assert made - pages == {*readme_twice, "changelog.md", "contributing.md", "404.md"}
    assert pages - made == {"theme/README.md"}
    assert "Part 2: a reward from preferences" not in (site / "index.html").read_text("utf-8")


@NEEDS_CHROMIUM
def test_pages_are_shown_without_another_host(site):
    # `opened` fails on requests to elsewhere and on whatever the console complains about
    with chromium() as browser, opened(browser, annotator=None) as page, served(site) as address:
        seen = {"formulas": 0, "pictures": 0}
        for path in sorted(site.rglob("*.html")):
            page.goto(f"{address}/{path.relative_to(site).as_posix()}")
            shown = page.evaluate(SHOWN)
            assert shown["set"] == shown["formulas"] and not shown["mistakes"], (path.name, shown)
            assert shown["drawn"] == shown["pictures"] and not shown["tooWide"], (path.name, shown)
            seen = {name: count + shown[name] for name, count in seen.items()}
        assert seen["formulas"] > 50 and seen["pictures"] > 10
        page.goto(f"{address}/index.html")
        page.fill("input.md-search__input", "disagreement")
        page.wait_for_selector(".md-search-result__item")


def test_a_broken_link_is_an_error(tmp_path):
    root = tmp_path / "project"
    (root / "docs").mkdir(parents=True)
    shutil.copy(ROOT / "mkdocs.yml", root / "whole.yml")
    # by the same rules, two pages: of all of them, most of the time goes into docstrings
    small = "INHERIT: whole.yml\nnav: [index.md, ppo.md]\nplugins: [search]\nhooks: []\n"
    (root / "mkdocs.yml").write_text(small)
    (root / "docs" / "ppo.md").write_text("# PPO\n")
    (root / "docs" / "index.md").write_text(
        "# Home\n\n[one](nowhere.md), [two](ppo.md#nowhere), [three](#nowhere), [there](ppo.md#ppo)\n"
    )
    outcome = build(root, tmp_path / "site")
    assert outcome.returncode == 1
    assert len(re.findall(r"WARNING.*nowhere", outcome.stderr)) == 3, outcome.stderr
    # what --quiet silences is not counted, and --strict then stops at nothing
    recipe = (ROOT / "Makefile").read_text("utf-8").partition("\ndocs:")[2].partition("\n\n")[0]
    assert "mkdocs build --strict\n" in recipe and "quiet" not in recipe
