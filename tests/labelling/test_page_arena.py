"""An arena on the page: somebody votes by keyboard without a name in sight, and the results rank."""

import pytest
from accessibility import faults
from arenas import NAMES, fill, vote
from pages import NEEDS_CHROMIUM, PHONE, Site, opened, press, shown, until

from prefloop.labelling.server.security import make_tokens

pytest_plugins = ["page_fixtures", "teaching_fixtures"]
pytestmark = NEEDS_CHROMIUM

PY = """
import numpy as np
def still(obs): return np.zeros(len(obs), dtype=np.int64)
def lean(obs): return (obs[:, 2] > 0).astype(np.int64)
def balance(obs): return (obs[:, 2] + obs[:, 3] > 0).astype(np.int64)
"""
POLICIES = "zebra-weak=movers:still zebra-middle=movers:lean zebra-strong=movers:balance"
STEPS = "side => parseInt(document.querySelector(`[data-side=${side}] .steps`).textContent)"
NAMED = ".bar-name"  # of the ranking, which stands before other bars


def key(page):
    """Of the clip in which the pole stands longer."""
    left, right = (page.evaluate(STEPS, side) for side in ("left", "right"))
    return "=" if left == right else "ArrowLeft" if left > right else "ArrowRight"


def give_votes(page, most):
    """Votes by keyboard until nothing is left; how often."""
    for given in range(most):
        until(page, "['pair', 'finished'].includes(document.querySelector('main').dataset.state)")
        if page.get_attribute("main", "data-state") == "finished":
            return given
        assert "zebra" not in page.content()
        press(page, key(page))
    return most


@pytest.mark.usefixtures("known_server")
def test_votes_by_keyboard_rank_three_policies(run, server, client, browser, tmp_path, monkeypatch):
    (tmp_path / "movers.py").write_text(PY)
    monkeypatch.syspath_prepend(tmp_path)
    line = "prefloop.cli arena --name poles --env CartPole-v1 --starts 5 --segment-length 60"
    outcome = run(f"{line} --policies {POLICIES}")
    assert outcome.code == 0, outcome.err
    bodies = []

    def listen(route):
        reply = route.fetch()
        bodies.append(reply.text())
        route.fulfill(response=reply)

    with opened(browser) as page:
        page.route("**/api/**", listen)
        page.goto(f"{server.url}/#/label/poles")
        page.wait_for_selector("video")  # a clip, not a plot
        assert give_votes(page, 6) == 6
        page.wait_for_selector("[data-state=pair]")
        assert len(bodies) > 6 and not any("zebra" in body for body in bodies)
        # and here the browser is closed, in the middle of a vote
    with opened(browser) as page:
        page.goto(f"{server.url}/#/label/poles")
        assert give_votes(page, 99) == 9  # 15 in all: nothing was lost, nothing asked twice
        page.goto(f"{server.url}/#/results/poles")
        page.wait_for_selector("h2:has-text('Ranking')")
        assert page.locator(NAMED).all_inner_texts()[:3] == list(NAMES)
        table = page.locator("[aria-label='Votes of each policy'] tbody tr")
        rows = [row.split("\t") for row in table.all_inner_texts()]
        found = client.ranking("poles")
        for row, agent in zip(rows, found.agents, strict=True):
            assert agent.low < agent.strength < agent.high
            ends = [float(end) for end in row[2].replace("\u2212", "-").split(" to ")]
            assert row[0] == agent.name
            assert ends == pytest.approx([agent.low, agent.high], abs=0.006)
        assert found.agents[0].wins == 10 and found.agents[0].strength > 0
        assert f"{found.votes} votes" in shown(page, ".card:has-text('Ranking') >> nth=0")
        matrix = page.locator("[aria-label='How likely each policy beats each'] tbody tr")
        assert [row.split("\t")[0] for row in matrix.all_inner_texts()] == list(NAMES)
        assert ">99%" in matrix.first.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_ranking_is_kept_up_to_date_and_read_by_anybody(site, browser, scheme):
    asked = fill(site.api)
    some = dict(list(asked.items())[:1])
    vote(site.api, some)
    with opened(browser, viewport=PHONE, color_scheme=scheme) as page:
        page.goto(f"{site.url}/#/results/walkers")
        page.wait_for_selector("text=Not ranked, since no votes are about them yet: zebra-weak.")
        assert page.locator(NAMED).all_inner_texts()[:2] == list(NAMES[:2])
        vote(site.api, {query: pair for query, pair in asked.items() if query not in some})
        page.wait_for_selector("text=6 votes, 0 ties, 0 skips.")
        assert page.locator(NAMED).all_inner_texts()[:3] == list(NAMES)
        assert faults(page) == []
        wide = "document.documentElement.scrollWidth <= window.innerWidth"
        assert page.evaluate(wide)
        # what is wider than the phone is reached by keyboard
        page.locator("[aria-label='How likely each policy beats each']").focus()
        page.keyboard.press("ArrowRight")
        until(page, "document.activeElement.scrollLeft > 0")


def test_with_the_annotators_token_the_page_names_nobody(tmp_path, browser):
    tokens = make_tokens()
    with Site(tmp_path, tokens=tokens.hashed) as site:
        site.api.headers["authorization"] = f"Bearer {tokens.trainer}"
        vote(site.api, fill(site.api))
        with opened(browser) as page:
            page.goto(f"{site.url}/#/results/walkers")
            page.fill("#token-field", tokens.annotator)
            page.keyboard.press("Enter")
            page.wait_for_selector("text=whoever votes is not to know")
            assert "zebra" not in page.content()
        with opened(browser) as page:
            page.goto(f"{site.url}/#/results/walkers")
            page.fill("#token-field", tokens.trainer)
            page.keyboard.press("Enter")
            page.wait_for_selector("text=zebra-strong")
