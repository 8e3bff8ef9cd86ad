"""What axe-core finds wrong with a page."""

from axe_playwright_python.sync_playwright import Axe

# every rule of WCAG 2.2, levels A and AA, that a program can check
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
AXE = Axe()


def faults(page):
    """What axe-core finds wrong: contrast, names, roles, structure."""
    found = AXE.run(page, options=RULES).response
    assert len(found["passes"]) > 10
    return [
        (fault["id"], node["target"], node["failureSummary"])
        for fault in found["violations"]
        for node in fault["nodes"]
    ]
