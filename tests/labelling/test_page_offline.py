"""The page while the server is away, and what it refuses."""

import json
import uuid

from pages import (
    AWAY,
    NEEDS_CHROMIUM,
    begin,
    cut,
    keys_at_once,
    kinds,
    labels,
    last,
    lease,
    make_run,
    mend,
    opened,
    press,
    say,
    settled,
    shown,
    sides,
    undo,
)
from serving import ServerProcess

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM


def test_a_server_that_is_killed_loses_nothing(tmp_path, browser):
    with ServerProcess("--home", str(tmp_path / "home")) as server:
        import httpx

        with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as api:
            queries = make_run(api, num_queries=8)
        with opened(browser, (*AWAY, "ERR_")) as page:
            begin(page, server.url)
            press(page, "1")
            settled(page)
            page.wait_for_load_state("networkidle")
            server.kill()
            for _ in range(3):
                press(page, "2")
            page.wait_for_selector("#offline:not([hidden])")
            assert "3 answers are kept" in shown(page, "#offline")
            waiting = page.evaluate(
                "Object.keys(localStorage).filter(key => key.startsWith('prefloop.answer.')).length"
            )
            assert waiting == 3
            server.start()
            page.wait_for_selector("#offline", state="hidden")
            settled(page)
            page.wait_for_selector("[data-state=pair]")
            # killed once more, and the page is reloaded before the server is back to hear of it
            page.wait_for_load_state("networkidle")
            page.route("**/api/answers", lambda route: route.abort())
            press(page, "1")
            page.reload()
            page.wait_for_selector("[data-state=pair]")
            server.kill()
            page.unroute("**/api/answers")
            server.start()
            for _ in range(3):
                press(page, "2")
            page.wait_for_selector("[data-state=finished]")
            settled(page)
        with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as api:
            events = labels(api)
    assert sorted(event["query"] for event in events) == sorted(query for query, _, _ in queries)


def test_an_undo_while_the_server_is_away_takes_back_what_it_is_meant_for(site, browser):
    make_run(site.api, num_queries=4)
    with opened(browser, (*AWAY, "ERR_")) as page:
        begin(page, site.url)
        page.wait_for_load_state("networkidle")  # all four are here
        press(page, "1")
        settled(page)
        cut(page)
        press(page, "=")  # tried in vain: for all that is known, the server has it
        page.wait_for_selector("#offline:not([hidden])")
        third = sides(page)
        press(page, "1")
        undo(page)  # of what was never sent, at once
        assert sides(page) == third
        press(page, "s")
        undo(page)
        assert sides(page) == third
        assert "1 answer is kept" in shown(page, "#offline")
        page.keyboard.press("u")  # of the tie, for later; labelling goes on
        last(page, "taken back once the server replies")
        press(page, "2")
        mend(page)
        last(page, "Taken back: both equal")
        press(page, "1")
        press(page, "1")
        page.wait_for_selector("[data-state=finished]")
        settled(page)
        assert page.locator("[data-count=session]").inner_text() == "4"
        assert page.locator(".notice").count() == 0
    assert kinds(site) == ["answer", "answer", "undo", "answer", "answer", "answer"]
    assert {event.label for event in site.store.labels.current("cartpole-01")} <= {0, 1}


def test_an_undo_of_what_was_refused_takes_back_nothing_else(site, browser):
    make_run(site.api, num_queries=4)
    with opened(browser, (*AWAY, "ERR_")) as page:
        begin(page, site.url)
        page.wait_for_load_state("networkidle")
        press(page, "1")
        settled(page)
        cut(page)
        press(page, "=")
        page.wait_for_selector("#offline:not([hidden])")
        page.keyboard.press("u")
        site.settings.change({"allow_ties": False})
        mend(page)
        last(page, "nothing to take back: that answer was not stored")
        assert page.locator(".notice").count() == 0
        assert kinds(site) == ["answer"]
        page.wait_for_selector("[data-state=pair]")
        undo(page)  # now it is the first one's turn
        settled(page)
    assert kinds(site) == ["answer", "undo"]


def test_an_undo_takes_back_no_answer_of_another_page(site, browser):
    make_run(site.api, num_queries=6)
    with opened(browser, AWAY) as page:
        begin(page, site.url)
        press(page, "1")
        settled(page)
        say(site.api, "ada", ["tie"])
        page.keyboard.press("u")
        last(page, "not your last answer")
        page.wait_for_selector("[data-action=left][aria-disabled=false]")
        settled(page)
    assert kinds(site) == ["answer", "answer"]


def test_labelling_does_not_wait_for_an_undo_for_ever(site, browser):
    make_run(site.api, num_queries=4)
    held = []
    with opened(browser) as page:
        begin(page, site.url)
        first = sides(page)
        press(page, "1")
        settled(page)
        page.route("**/api/undo", lambda route: held.append(route))
        keys_at_once(page, "u", "2")  # the second would be meant for the pair that is to come back
        last(page, "Go on")
        press(page, "=")
        held.pop().continue_()
        last(page, "Taken back: left is better")
        assert sides(page) == first
        press(page, "2")
        settled(page)
    assert kinds(site) == ["answer", "undo", "answer", "answer"]
    assert [event["label"] for event in labels(site.api)][2] == 0.5


def test_answers_that_are_refused_are_counted_and_each_is_seen(site, browser):
    make_run(site.api, num_queries=4)
    with opened(browser, (*AWAY, "ERR_")) as page:
        begin(page, site.url)
        page.wait_for_load_state("networkidle")
        cut(page)
        press(page, "=")
        press(page, "=")
        site.settings.change({"allow_ties": False})
        mend(page)
        page.wait_for_selector(".notice >> text=2 answers were not stored.")
        page.reload()
        page.wait_for_selector(".notice >> text=2 answers were not stored.")
        items = page.locator(".notice li p").all_text_contents()
        assert len(items) == 2
        for item in items:
            assert item.startswith("cartpole-01, ")
            assert item.endswith(", both equal: Ties are switched off.")
        page.locator(".notice summary").click()
        page.get_by_role("button", name="Discard: cartpole-01").first.click()
        assert "1 answer was not stored." in shown(page, ".notice")
        # the focus is where the next one can be discarded
        page.keyboard.press("Enter")
        page.wait_for_selector(".notice", state="detached")
        assert page.evaluate("document.activeElement.id") == "view"
        kept = "Object.keys(localStorage).filter(key => key.startsWith('prefloop.refused.'))"
        assert page.evaluate(kept) == []


def test_an_answer_waits_where_too_many_have_tried_tokens(site, browser):
    make_run(site.api)
    told = {"status": 429, "json": {"detail": "The token is not this server's."}}
    with opened(browser, AWAY) as page:
        begin(page, site.url)
        page.route("**/api/answers", lambda route: route.fulfill(**told), times=2)
        press(page, "1")
        settled(page)
        assert page.locator(".notice").count() == 0
    assert kinds(site) == ["answer"]


def test_a_page_goes_on_when_everything_is_asked_again(site, browser):
    make_run(site.api, num_queries=4)
    with opened(browser, AWAY) as page:
        begin(page, site.url)
        press(page, "1")
        settled(page)
        site.api.post("/api/runs/cartpole-01/label-again")
        page.keyboard.press("2")  # of the last round, which the page does not know yet
        page.wait_for_selector(".notice >> text=The run has begun a new round")
        last(page, "Everything is asked again")
        page.wait_for_selector("[data-state=pair]")
        for _ in range(4):
            page.wait_for_selector("[data-state=pair]")
            press(page, "2")
        page.wait_for_selector("[data-state=finished]")
        settled(page)
        assert shown(page, "[data-count=done]") == "4"
        # and where nothing was pressed, by itself
        page.wait_for_load_state("networkidle")
        site.api.post("/api/runs/cartpole-01/label-again")
        page.wait_for_selector("[data-state=pair]")
        undone = lease(page)
        page.keyboard.press("u")  # nothing of this round
        last(page, "nothing to take back")
        assert lease(page) == undone
        press(page, "1")
        settled(page)
    assert kinds(site) == ["answer"]


def test_an_answer_of_an_unknown_lease_is_kept_until_it_is_discarded(site, browser):
    make_run(site.api)
    id = str(uuid.uuid4())
    said = {"id": id, "lease": str(uuid.uuid4()), "choice": "left", "trim": None, "seconds": 1}
    with opened(browser, AWAY) as page:
        page.goto(site.url)
        page.wait_for_selector(".run")
        entry = json.dumps({"said": said, "at": 1, "aside": None})  # as older pages kept it
        page.evaluate("([key, entry]) => localStorage.setItem(key, entry)", [f"prefloop.answer.{id}", entry])  # fmt: skip
        page.reload()
        page.wait_for_selector(".notice")
        assert "1 answer was not stored" in shown(page, ".notice")
        page.get_by_role("button", name="Send again").click()
        page.reload()
        page.wait_for_selector(".notice")
        page.get_by_role("button", name="Discard: a run").click()
        settled(page)
        assert page.locator(".notice").count() == 0
