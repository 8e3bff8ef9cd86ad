"""Labelling in Chromium, by keyboard, as an annotator does it."""

import uuid

from pages import (
    AWAY,
    NEEDS_CHROMIUM,
    Site,
    add_pairs,
    begin,
    labels,
    lease,
    make_run,
    opened,
    press,
    settled,
    shown,
    sides,
    undo,
    until,
)
from people import Clock
from taking_part import make_study

from prefloop.labelling.server.storage.store import utc_now

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM


def test_labels_by_keyboard_alone_are_those_that_were_meant(site, browser):
    queries = {query: (first, second) for query, first, second in make_run(site.api, num_queries=8)}
    better = {}  # query: the segment that was meant
    with opened(browser, annotator=None) as page:
        page.goto(site.url)
        # from the list of runs to a run, without a mouse
        page.wait_for_selector(".run")
        page.locator(".run .primary").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#name-dialog[open]")
        page.keyboard.type("Ada L.")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-state=pair]")
        keys = ["ArrowLeft", "ArrowRight", "1", "2"] * 2
        for key in keys:
            left, right = sides(page)
            query = next(id for id, pair in queries.items() if set(pair) == {left, right})
            better[query] = left if key in ("ArrowLeft", "1") else right
            press(page, key)
        page.wait_for_selector("[data-state=finished]")
        settled(page)
        assert page.locator("[data-count=session]").inner_text() == "8"
        assert page.evaluate("localStorage.getItem('prefloop.annotator')") == '"Ada L."'
        page.reload()
        page.wait_for_selector("[data-state=finished]")
        assert shown(page, "#name-shown") == "Ada L."
    events = labels(site.api)
    assert {event["query"] for event in events} == set(queries)
    for event in events:
        assert queries[event["query"]][int(event["label"])] == better[event["query"]]
        assert event["annotator"] == "Ada L."
        assert 0 < event["seconds"] < 600
    assert {event.first_was_left for event in site.store.labels.current("cartpole-01")} == {
        True,
        False,
    }


def test_ties_skips_and_undo(site, browser):
    make_run(site.api, num_queries=4)
    with opened(browser, AWAY) as page:
        begin(page, site.url)
        first = sides(page)
        press(page, "=")
        press(page, "s")
        press(page, "ArrowLeft")
        settled(page)  # what was not sent yet would simply be dropped
        undo(page)
        assert "left is better" in shown(page, ".last")
        press(page, "ArrowRight")
        settled(page)
        # and back to the very first
        for _ in range(3):
            undo(page)
        assert sides(page) == first
        page.keyboard.press("u")
        until(page, "document.querySelector('.last').textContent.includes('nothing to take back')")  # fmt: skip
        for key in ("1", "=", "s", "1"):
            press(page, key)
        page.wait_for_selector("[data-state=finished]")
        settled(page)
        assert page.locator("[data-count=session]").inner_text() == "4"
    kinds = [event["kind"] for event in labels(site.api)]
    assert kinds == [
        "answer", "skip", "answer", "undo", "answer", "undo", "undo", "undo",
        "answer", "answer", "skip", "answer",
    ]  # fmt: skip
    standing = site.store.labels.current("cartpole-01")
    assert [event.label in (0, 1) for event in standing] == [True, False, False, True]
    assert [event.label for event in standing][1:3] == [0.5, None]


def test_a_held_key_answers_once(site, browser):
    make_run(site.api, num_queries=4)
    with opened(browser) as page:
        begin(page, site.url)
        for _ in range(5):
            page.keyboard.down("ArrowLeft")  # the second and later ones are repeats
        page.keyboard.up("ArrowLeft")
        settled(page)
    assert len(labels(site.api)) == 1


def test_buttons_do_what_their_keys_do(site, browser):
    make_run(site.api, num_queries=5)
    with opened(browser) as page:
        begin(page, site.url)
        for action in ("left", "right", "tie", "skip"):
            button = page.locator(f"[data-action={action}]")
            assert button.get_attribute("aria-keyshortcuts")
            assert button.locator("kbd").count() >= 1
            before = lease(page)
            button.click()
            until(page, "b => document.querySelector('.stage').dataset.lease !== b", before)  # fmt: skip
        # a button that was clicked does not take the space key
        page.keyboard.press(" ")
        page.wait_for_selector("[data-action=play][aria-label=Play]")
        settled(page)
    assert [event["kind"] for event in labels(site.api)] == ["answer", "answer", "answer", "skip"]


def test_what_is_switched_off_has_no_button_and_no_key(site, browser):
    make_run(site.api, num_queries=3)
    off = {"allow_ties": False, "allow_skip": False, "allow_trim": False}
    assert site.api.put("/api/settings", json=off).status_code == 200
    with opened(browser) as page:
        begin(page, site.url)
        for action in ("tie", "skip", "trimStart"):
            assert not page.locator(f"[data-action={action}]").is_visible()
        before = lease(page)
        page.locator(".scrub").fill("4")
        page.locator(".scrub").blur()
        for key in ("=", "s", "i", "o"):
            page.keyboard.press(key)
        assert lease(page) == before
        page.keyboard.press("?")
        told = page.locator("#help-dialog").inner_text()
        assert "undo" in told.lower() or "take back" in told
        for words in ("equally good", "can't tell", "compare from", "narrow it"):
            assert words not in told
        page.keyboard.press("Escape")
        press(page, "2")
        settled(page)
    (event,) = labels(site.api)
    assert event["label"] in (0, 1)
    assert event["trim"] is None


def test_a_tie_that_was_switched_off_meanwhile_is_not_stored_and_its_pair_comes_again(
    site, browser
):
    make_run(site.api, num_queries=1)
    with opened(browser, AWAY) as page:
        begin(page, site.url)
        site.settings.change({"allow_ties": False})
        page.keyboard.press("=")
        page.wait_for_selector(".notice")
        assert "Ties are switched off" in shown(page, ".notice")
        page.wait_for_selector("[data-action=tie]", state="hidden")
        page.wait_for_selector("[data-state=pair]")
        press(page, "1")
        settled(page)
        page.wait_for_selector("[data-state=finished]")
    assert len(labels(site.api)) == 1


def test_a_pair_that_went_to_somebody_else_is_told_of(tmp_path, browser):
    clock = Clock()
    clock.time = utc_now()
    with Site(tmp_path, clock) as site, opened(browser, AWAY) as page:
        make_run(site.api, num_queries=4)
        begin(page, site.url)
        page.wait_for_load_state("networkidle")  # all four are hers, so it asks for nothing more
        clock.go(3600)
        wish = {"annotator": "grace", "session": str(uuid.uuid4()), "count": 4}
        for given in site.api.post("/api/runs/cartpole-01/leases", json=wish).json()["queries"]:
            said = {"id": str(uuid.uuid4()), "lease": given["lease"], "choice": "tie"}
            assert site.api.post("/api/answers", json=said).status_code == 200
        page.keyboard.press("1")
        page.wait_for_selector(".notice")
        assert "somebody else has it" in shown(page, ".notice")
        page.wait_for_selector("[data-state=finished]")
        assert page.locator("[data-count=session]").inner_text() == "0"
        add_pairs(site.api, "cartpole-01", 1, seed=9)
        page.wait_for_selector("[data-state=pair]")
        press(page, "2")
        settled(page)
        assert [event["annotator"] for event in labels(site.api)] == ["grace"] * 4 + ["ada"]


def test_a_pair_that_is_leased_anew_is_shown_as_it_is_leased(tmp_path, browser):
    clock = Clock()
    clock.time = utc_now()
    with Site(tmp_path, clock) as site, opened(browser) as page:
        ((query, first, _),) = make_run(site.api, num_queries=1)
        begin(page, site.url)
        for _ in range(4):  # left and right change places sooner or later
            before = lease(page)
            clock.go(3600)
            until(page, "b => document.querySelector('.stage').dataset.lease !== b", before)
        chosen = sides(page)[0]
        press(page, "1")
        settled(page)
        (event,) = labels(site.api)
        assert (event["query"], event["label"]) == (query, 0 if chosen == first else 1)


def test_an_empty_queue_says_so_and_fills_by_itself(site, browser):
    make_run(site.api, num_queries=1)
    with opened(browser) as page:
        begin(page, site.url)
        press(page, "1")
        page.wait_for_selector("[data-state=finished]")
        assert "All pairs so far are done" in shown(page, ".message")
        page.keyboard.press("1")  # answers nothing
        add_pairs(site.api, "cartpole-01", 2, seed=9)
        page.wait_for_selector("[data-state=pair]")
        assert "pairs to compare" in page.locator("#polite").text_content()
        press(page, "2")
        press(page, "2")
        page.wait_for_selector("[data-state=finished]")
        settled(page)
        assert len(labels(site.api)) == 3
        site.api.post("/api/runs/cartpole-01/label-again")
        page.wait_for_selector("[data-state=pair]")
        press(page, "1")
        settled(page)
    assert len(labels(site.api)) == 1  # of the new round


def test_a_name_that_the_server_refuses_is_told_and_can_be_changed(site, browser):
    make_study(site.api)
    make_run(site.api, "cartpole-02", num_queries=1, seed=1)
    with opened(browser, AWAY, annotator="pilot-01") as page:
        page.goto(f"{site.url}/#/label/cartpole-02")
        page.wait_for_selector("[data-state=refused]")
        assert "pilot-01 takes part in a study" in shown(page, ".message")
        page.locator("#name-button").click()
        for unseen in ("\u200b\u2060", "\x7f"):
            page.locator("#name-field").fill(unseen)
            page.keyboard.press("Enter")
            page.wait_for_selector("#name-mistake:not(:empty)")
            page.locator("#name-field").fill("")
        page.locator("#name-field").fill("\u3164")  # a letter, of which there is nothing to be seen
        page.keyboard.press("Enter")
        until(page, "document.querySelector('.message')?.textContent.includes('letters that can be seen')")  # fmt: skip
        page.locator("#name-button").click()
        page.locator("#name-field").fill("a\u200bda")
        page.keyboard.press("Enter")
        press(page, "1")
        settled(page)
        assert shown(page, "#name-shown") == "ada"
    assert [event["annotator"] for event in labels(site.api, "cartpole-02")] == ["ada"]


def test_a_page_that_is_closed_gives_its_pairs_to_the_others_at_once(site, browser):
    make_run(site.api, num_queries=4)
    with opened(browser) as closed:
        begin(closed, site.url)
        closed.close()
    with opened(browser, annotator="eve") as left:
        begin(left, site.url)
        left.evaluate("location.hash = '#/'")
        left.wait_for_selector("#view .card")
        with opened(browser, annotator="bob") as page:
            begin(page, site.url)
            for _ in range(4):
                press(page, "1")
            settled(page)
    assert {event["annotator"] for event in labels(site.api)} == {"bob"}
    assert len(labels(site.api)) == 4
