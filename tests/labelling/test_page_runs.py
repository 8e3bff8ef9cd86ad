"""The list of runs: found, in the order of need, and what trainers may do with them."""

import uuid

from accessibility import faults
from pages import (
    AWAY,
    NEEDS_CHROMIUM,
    PHONE,
    Site,
    add_pairs,
    begin,
    make_run,
    opened,
    say,
    shown,
    until,
)

from prefloop.labelling.server.security import make_tokens

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM

NAMES = "[...document.querySelectorAll('.run')].map(run => run.dataset.run)"
LIVE = "[...document.querySelectorAll('main > .run-list .run')].map(run => run.dataset.run).join()"


def tell(api, name="cartpole-01", **changes):
    """A program says that it trains."""
    told = {"trainer": str(uuid.UUID(int=1)), "phase": "learning", "steps": 5400, **changes}
    assert api.put(f"/api/runs/{name}/training", json=told).status_code == 200


def names(api):
    return [run["name"] for run in api.get("/api/runs").json()]


def manage(page, name="cartpole-01"):
    page.get_by_role("button", name=f"Manage {name}").click()
    page.wait_for_selector("#manage-dialog[open]")


def test_those_that_need_labels_stand_first_and_archived_ones_are_folded_away(site, browser):
    make_run(site.api, "needs", num_queries=2, clips=False)
    make_run(site.api, "waits", num_queries=0)
    make_run(site.api, "learns", num_queries=1, clips=False, seed=1)
    make_run(site.api, "done", num_queries=1, clips=False, seed=2)
    make_run(site.api, "old", num_queries=1, clips=False, seed=3)
    for name in ("learns", "done"):
        say(site.api, "bob", ["left"], run=name)
    tell(site.api, "learns")
    site.api.post("/api/runs/old/archive")
    with opened(browser) as page:
        page.goto(site.url)
        page.wait_for_selector(".run")
        assert page.evaluate(LIVE) == "needs,learns,waits,done"
        card = "[data-run=learns]"
        assert shown(page, f"{card} .trains") == "learning, step 5,400"
        assert "waits for pairs" in shown(page, f"{card} .run-counts")
        assert "finished" in shown(page, "[data-run=done] .run-counts")
        assert not page.locator("[data-run=old]").is_visible()
        page.get_by_text("Archived: 1 run").click()
        assert page.locator("[data-run=old]").is_visible()
        assert page.locator("[data-run=old]").get_by_role("link", name="labelling").count() == 0
        # the order is that of now
        add_pairs(site.api, "done", 1, seed=5, clips=False)
        until(page, f"({LIVE}).startsWith('done,needs')")


def test_runs_are_searched_by_name_environment_and_instructions(site, browser):
    make_run(site.api, "hopper-01", num_queries=0, env="Hopper-v5", instructions="Do a backflip.")
    make_run(site.api, "hopper-02", num_queries=0, env="Hopper-v5", instructions="Hop far.")
    make_run(site.api, "pole", num_queries=0, instructions="Upright?")
    with opened(browser) as page:
        page.goto(site.url)
        page.wait_for_selector(".run")
        page.keyboard.press("/")
        search = page.locator("[aria-label='Search the runs']")
        assert search.evaluate("node => node === document.activeElement")
        for text, found in {
            "pole": "pole",
            "cartpole": "pole",
            "HOPPER": "hopper-02,hopper-01",
            "hopper back": "hopper-01",
            "flip/": "",
        }.items():
            search.fill("")
            page.keyboard.type(text)  # a slash is only a slash here
            assert page.evaluate(LIVE) == found
        assert "No run has “flip/”" in shown(page, ".none-fits")
        until(page, "document.querySelector('#polite').textContent.startsWith('0 runs of 3')")
        search.fill("")
        assert page.evaluate(LIVE) == "pole,hopper-02,hopper-01"


def test_a_run_is_renamed_archived_brought_back_and_deleted(site, browser):
    make_run(site.api, num_queries=2, clips=False)
    make_run(site.api, "other", num_queries=0)
    say(site.api, "bob", ["left"])
    with opened(browser, AWAY) as page:
        page.goto(site.url)
        page.wait_for_selector(".run")
        manage(page)
        page.get_by_label("Name", exact=True).fill("other")
        page.keyboard.press("Enter")
        until(page, "document.querySelector('#manage-dialog .mistake').textContent.includes('a run other already')")  # fmt: skip
        page.get_by_label("Name", exact=True).fill("better")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-run=better]")
        # the focus is where it was
        until(page, "document.activeElement.getAttribute('aria-label') === 'Manage better'")
        manage(page, "better")
        page.get_by_role("button", name="Archive").click()
        page.wait_for_selector("text=Archived: 1 run")
        assert page.evaluate(LIVE) == "other"
        page.get_by_text("Archived: 1 run").click()
        manage(page, "better")
        page.get_by_role("button", name="Bring back").click()
        until(page, f"({LIVE}).includes('better')")
        manage(page, "better")
        page.get_by_role("button", name="Delete …").click()
        assert "1 label by 1 annotator would be lost" in shown(page, "#confirm-lost")
        last = page.get_by_role("button", name="Delete for good")
        assert last.is_disabled()
        page.keyboard.type("bette")
        page.keyboard.press("Enter")
        assert last.is_disabled()
        page.keyboard.press("Escape")
        assert "better" in names(site.api)
        manage(page, "better")
        page.get_by_role("button", name="Delete …").click()
        page.keyboard.type("better")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-run=better]", state="detached")
        assert names(site.api) == ["other"]
        manage(page, "other")  # which has no labels: a second press is enough
        page.get_by_role("button", name="Delete …").click()
        assert "no labels to lose" in shown(page, "#confirm-lost")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=There is nothing to label yet")
        assert names(site.api) == []


def test_whoever_deletes_a_run_that_is_trained_on_is_told(site, browser):
    make_run(site.api, num_queries=0)
    tell(site.api)
    with opened(browser, AWAY) as page:
        page.goto(site.url)
        page.wait_for_selector(".trains:not([hidden])")
        manage(page)
        assert page.get_by_role("button", name="Archive").is_disabled()
        assert "(learning, step 5,400); stop it before" in shown(page, "#manage-dialog")
        assert "started again with --run NEW-NAME --out cartpole-01" in shown(
            page, "#manage-dialog"
        )
        page.get_by_role("button", name="Delete …").click()
        assert "A program trains on it now" in shown(page, "#confirm-lost")
        page.get_by_role("button", name="Delete for good").click()
        page.wait_for_selector("text=There is nothing to label yet")
        # one that began to train after the question was asked is not taken away unasked
        make_run(site.api, num_queries=0)
        page.wait_for_selector(".run")
        manage(page)
        page.get_by_role("button", name="Delete …").click()
        tell(site.api)
        page.get_by_role("button", name="Delete for good").click()
        until(page, "document.querySelector('#confirm-dialog .mistake').textContent.includes('A program trains on the run')")  # fmt: skip
    assert names(site.api) == ["cartpole-01"]


def test_whoever_renames_a_run_reads_how_its_training_goes_on(site, browser):
    make_run(site.api, num_queries=0)
    make_run(site.api, "other", num_queries=0)
    tell(site.api, phase="ended")
    goes_on = "--run NEW-NAME --out cartpole-01"
    with opened(browser, AWAY) as page:
        page.goto(site.url)
        page.wait_for_selector(".run")
        manage(page)  # stopped for now, and renamed before it goes on
        until(page, f"document.querySelector('#manage-dialog').innerText.includes('{goes_on}')")
        page.get_by_role("button", name="Close").click()
        manage(page, "other")  # on which nobody ever trained
        page.wait_for_timeout(300)
        assert "--run" not in shown(page, "#manage-dialog")


def test_annotators_change_nothing_and_are_not_offered_what_is_archived(tmp_path, browser):
    given = make_tokens()
    with Site(tmp_path, tokens=given.hashed) as site:
        site.api.headers["authorization"] = f"Bearer {given.trainer}"
        make_run(site.api, num_queries=2)
        make_run(site.api, "old", num_queries=1, seed=1)
        site.api.post("/api/runs/old/archive")
        with opened(browser, AWAY) as page:
            page.goto(f"{site.url}/#token={given.annotator}")
            page.wait_for_selector(".run")
            assert page.evaluate(NAMES) == ["cartpole-01"]
            assert page.get_by_role("button", name="Manage").count() == 0
            page.goto(f"{site.url}/#/label/old")
            page.wait_for_selector("text=removed, renamed or archived")
            # and it is there again when it is brought back
            site.api.post("/api/runs/old/bring-back")
            page.wait_for_selector("[data-state=pair]")
            page.goto(f"{site.url}/#/settings/old")
            page.wait_for_selector("text=Only trainers may change")
            assert page.locator(".setting input:enabled").count() == 0


def test_settings_of_one_run_hold_on_its_page(site, browser):
    make_run(site.api, num_queries=8, length=100)
    make_run(site.api, "other", num_queries=1, seed=9, length=100)
    leases = []

    def listen(route):  # a browser does not keep every body
        reply = route.fetch()
        leases.append(reply.json()["queries"])
        route.fulfill(response=reply)

    with opened(browser, AWAY) as page:
        page.goto(site.url)
        manage(page)
        page.get_by_role("link", name="Settings of this run").click()
        page.wait_for_selector("text=Settings of cartpole-01")
        assert page.get_by_label("Speed").get_attribute("placeholder") == "1"
        assert "For every other run: 1." in shown(page, "[data-key=playback_speed]")
        assert "the environment's own" in shown(page, "[data-key=frames_per_second]")
        page.get_by_label("Speed").fill("0.5")
        page.get_by_label("Pairs that a page holds").fill("9")
        page.get_by_role("button", name="Save").click()
        page.wait_for_selector("[data-key=pairs_ahead] .mistake:not(:empty)")
        assert "between 1 and 8, not 9" in shown(page, "[data-key=pairs_ahead] .mistake")
        page.get_by_label("Pairs that a page holds").fill("2")
        page.get_by_role("button", name="Save").click()
        page.wait_for_selector("text=Saved")
        page.route("**/leases", listen)
        begin(page, site.url)
        until(page, "document.querySelector('.speed').textContent.startsWith('0.5')")
        page.wait_for_timeout(500)
        assert sum(len(queries) for queries in leases) == 2
        page.unroute("**/leases")
        begin(page, site.url, "other")
        until(page, "document.querySelector('.speed').textContent.startsWith('1')")
        page.goto(f"{site.url}/#/settings/cartpole-01")
        page.get_by_label("Speed").fill("")
        page.get_by_role("button", name="Save").click()
        page.wait_for_selector("text=Saved")
    assert site.store.runs.own_settings("cartpole-01") == {"pairs_ahead": 2}


def test_on_a_phone_and_with_a_screen_reader(site, browser):
    make_run(site.api, num_queries=2, clips=False, instructions="Watch the pole.")
    make_run(site.api, "old", num_queries=0)
    say(site.api, "bob", ["left"])
    site.api.post("/api/runs/old/archive")
    tell(site.api)
    fits = "document.documentElement.scrollWidth <= window.innerWidth"
    with opened(browser, AWAY, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        page.goto(site.url)
        page.wait_for_selector(".run")
        page.get_by_text("Archived: 1 run").tap()
        assert faults(page) == [] and page.evaluate(fits)
        for button in page.locator(".run .run-buttons > *:visible").all():
            assert button.bounding_box()["height"] >= 44
        manage(page)
        page.get_by_role("button", name="Delete …").tap()
        assert faults(page) == [] and page.evaluate(fits)
        page.keyboard.press("Escape")
        page.goto(f"{site.url}/#/settings/cartpole-01")
        page.wait_for_selector(".setting")
        assert faults(page) == [] and page.evaluate(fits)
