"""What holds for every page: the list of runs, phones, help, colours, what users typed."""

import uuid

from pages import (
    AWAY,
    NEEDS_CHROMIUM,
    PHONE,
    begin,
    labels,
    make_run,
    opened,
    press,
    say,
    settled,
    shown,
    until,
)

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM


def test_the_list_of_runs_shows_progress_as_it_happens(site, browser):
    with opened(browser) as page:
        page.goto(site.url)
        page.wait_for_selector(".empty h2")
        assert "prefloop collect" in shown(page, ".empty")
        make_run(site.api, num_queries=2, clips=False)
        page.wait_for_selector(".run")
        assert "0 of 2 pairs done" in shown(page, ".run-counts")
        reply = site.api.post(
            "/api/runs/cartpole-01/leases", json={"annotator": "bob", "session": str(uuid.uuid4())}
        )
        (given,) = reply.json()["queries"]
        said = {"id": str(uuid.uuid4()), "lease": given["lease"], "choice": "left"}
        assert site.api.post("/api/answers", json=said).status_code == 200
        until(page, "document.querySelector('.run-counts').textContent.includes('1 of 2')")  # fmt: skip
        assert "1 label by 1 annotator" in shown(page, ".run-counts")
        assert page.get_by_role("link", name="Go on labelling cartpole-01").count() == 1


def test_what_users_typed_is_shown_as_text(site, browser):
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    facts = {"instructions": f"Watch {evil}", "env": evil[:60]}
    make_run(site.api, num_queries=2, **facts)
    with opened(browser, AWAY) as page:
        page.goto(site.url)
        page.wait_for_selector(".run")
        assert evil in shown(page, ".run .excerpt")
        assert evil[:60] in shown(page, ".run .tag")
        page.locator("#name-button").click()
        page.locator("#name-field").fill(evil[:60])
        page.keyboard.press("Enter")
        begin(page, site.url)
        assert evil in shown(page, ".instructions")
        press(page, "1")
        settled(page)
        page.goto(f"{site.url}/#/results/cartpole-01")
        page.wait_for_selector("table")
        assert shown(page, "tbody th") == evil[:60]
        assert page.locator("main img, main script").count() == 0
        page.goto(f"{site.url}/#/label/{evil}")
        until(page, "document.querySelector('main h1')?.textContent.includes('<img')")
    assert labels(site.api)[0]["annotator"] == evil[:60]


def test_on_a_phone_both_clips_and_all_buttons_are_in_sight(site, browser):
    make_run(site.api, num_queries=3, instructions="Watch the pole.\n" * 5)
    with opened(browser, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        begin(page, site.url)
        page.locator("[data-action=right]").tap()  # what was read makes room for the clips
        page.wait_for_selector(".instructions:not([open])")
        tops = []
        for name in ("[data-side=left] .screen", "[data-side=right] .screen", "[data-action=left]"):
            box = page.locator(name).bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
            assert box["y"] + box["height"] <= PHONE["height"]
            tops.append(box["y"])
        assert tops == sorted(tops)  # one above the other
        # the height is the clips': the head takes one line, to its last key
        head = page.locator(".top").bounding_box()
        for name in (".brand", "#name-button", "#theme-button", "#help-button"):
            box = page.locator(name).bounding_box()
            assert box["y"] >= head["y"] and box["y"] + box["height"] <= head["y"] + head["height"]
        assert head["height"] < 56 and box["x"] + box["width"] > PHONE["width"] - 24
        assert shown(page, "[data-action=left]") == "Upper is better"
        for action in ("left", "right", "tie", "skip", "undo"):
            assert page.locator(f"[data-action={action}]").bounding_box()["height"] >= 44
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        for place in ("#/", "#/results/cartpole-01", "#/settings"):
            page.goto(f"{site.url}/{place}")
            page.wait_for_selector("main h1")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), place
        settled(page)


def test_nothing_is_wider_than_the_narrowest_phone_however_long_names_are(site, browser):
    long = "W" * 64
    make_run(site.api, long, num_queries=2)
    say(site.api, long, ["left"], run=long)
    with opened(browser, AWAY, viewport={"width": 320, "height": 640}, annotator=long) as page:
        for place in ("", f"label/{long}", f"label/{long[1:]}", f"results/{long}", "settings", "data"):  # fmt: skip
            page.goto(f"{site.url}/#/{place}")
            page.wait_for_selector("h1")
            until(page, "document.documentElement.scrollWidth <= window.innerWidth")
        page.goto(f"{site.url}/#/results/{long}")
        page.get_by_role("button", name="Delete all").click()
        page.wait_for_selector("#confirm-dialog[open]")
        assert page.evaluate("(d => d.scrollWidth <= d.clientWidth)(document.querySelector('#confirm-dialog'))")  # fmt: skip


def test_help_and_colours(site, browser):
    make_run(site.api, num_queries=2)
    with opened(browser) as page:
        begin(page, site.url)
        page.keyboard.press("?")
        page.wait_for_selector("#help-dialog[open]")
        assert "take back the last answer" in shown(page, "#help-dialog")
        groups = page.locator("#help-keys h3").all_inner_texts()
        assert groups == ["Answering", "Watching", "Comparing a part", "Moving about"]
        assert "compare up to this frame" in shown(page, ".key-group >> nth=2")
        told = page.evaluate(
            "import('/js/common/keys.js').then(({ACTIONS, helpOf}) => Object.keys(ACTIONS).map(helpOf))"
        )
        assert set(told) <= set(page.locator(".key-list dd").all_inner_texts())  # none is left out
        assert "search the list of runs" in shown(page, ".key-group >> nth=3")
        page.keyboard.press("ArrowLeft")  # answers nothing while the help is read
        page.keyboard.press("Escape")
        page.wait_for_selector("#help-dialog:not([open])", state="hidden")
        colours = []
        for _ in range(2):
            page.locator("#theme-button").click()
            colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert colours[0] != colours[1]
        page.reload()
        page.wait_for_selector("[data-state=pair]")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == colours[1]
    assert labels(site.api) == []
