"""What MkDocs does not do by itself: formulas without a script, and links that leave the pages."""

import re

from latex2mathml.converter import convert
from mkdocs.structure.pages import Page


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Leaves of links to files beside `docs/` their names: the site does not hold them."""
    if "/" in page.file.src_uri:
        return markdown
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", markdown)


def on_page_content(html: str, **_: object) -> str:
    """Formulas as MathML, which browsers draw themselves."""
    html = re.sub(
        r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>',
        lambda formula: f"<div>{_mathml(formula[1], 'block')}</div>",
        html,
        flags=re.DOTALL,
    )
    return re.sub(
        r'<span class="arithmatex">\\\((.*?)\\\)</span>',
        lambda formula: _mathml(formula[1], "inline"),
        html,
        flags=re.DOTALL,
    )


def _mathml(latex: str, display: str) -> str:
    text = latex.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return convert(text, display=display)
