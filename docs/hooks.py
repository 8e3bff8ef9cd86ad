"""Pages of the site that lie outside of docs/, and links between them and the others.

The README stays the one text that GitHub, students and the site show. Links are written for the
repository; here they are brought to where their target lies in the site.
"""

import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]

# pages that lie outside of docs/, with their places in the repository; the README makes two
OUTSIDE = {
    "index.md": "README.md",
    "assignment.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
IN_THE_SITE = {place: uri for uri, place in reversed(OUTSIDE.items())}
ASSIGNMENT = "#the-assignment-reinforcement-learning-from-human-feedback"
LINK = re.compile(r"\[([^\]]*)\]\((?!\w+:)([^)#\s]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that lie outside of docs/."""
    for uri, place in OUTSIDE.items():
        text = (ROOT / place).read_text(encoding="utf-8")
        if place == "README.md":
            before, _, rest = text.partition("<!-- assignment -->\n")
            assignment, _, after = rest.partition("<!-- /assignment -->\n")
            # a page has one title, so the later ones of the README are sections
            after = re.sub(r"^# ", "## ", after, flags=re.MULTILINE)
            text = assignment if uri == "assignment.md" else before + after
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Brings links to where the site has their targets; of those that it has not, the text stays."""
    uri = page.file.src_uri
    source = OUTSIDE.get(uri, f"docs/{uri}")

    def moved(link: re.Match[str]) -> str:
        text, path, anchor = link[1], link[2], link[3] or ""
        place = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if (place if path else source) == "README.md" and anchor == ASSIGNMENT:
            target, anchor = "assignment.md", ""
        elif not path or not (ROOT / place).exists():
            return link[0]  # on this page; or no link at all, or a broken one, which MkDocs names
        elif place.startswith("docs/") or place in IN_THE_SITE:
            target = IN_THE_SITE.get(place, place.removeprefix("docs/"))
        else:
            return text
        return f"[{text}]({os.path.relpath(target, posixpath.dirname(uri) or '.')}{anchor})"

    return LINK.sub(moved, markdown)
