"""The way through a study in a browser: each step, on one device, and what ends it."""

import uuid

import pytest
from accessibility import faults
from pages import (
    AWAY,
    NEEDS_CHROMIUM,
    PHONE,
    labels,
    make_run,
    opened,
    press,
    say,
    settled,
    shown,
    sides,
    until,
)
from taking_part import make_study

from prefloop.labelling import links

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM

EVIL = "<img src=x onerror=alert(1)>"
ABOUT = {
    "title": "Which pole is steadier?",
    "welcome": f"# Welcome\n\n**Bold**, *not*, `code`, {EVIL}\n[site](https://example.org/) [bad](javascript:alert(1))\n\n- one\n- two",
    "consent": "Taking part is voluntary.",
    "instructions": "The pole should stay **upright**.",
    "comprehension": [{"question": "What is better?", "options": ["fast", "upright"], "right": "upright"}],
    "pause": "Look out of the window.",
    "thanks": "That was all.",
    "return_address": "https://app.example.org/done?cc={code}",
}  # fmt: skip
PAIR = "[data-step=pairs][data-state=pair]"
KEEPS_ONE_ANSWER = (
    "Object.keys(localStorage).filter(key => key.startsWith('prefloop.answer.')).length === 1"
)


def join(page, site, person):
    page.goto(f"{site.url}/#token={person.token}")
    page.wait_for_selector("[data-step]")


def click(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def at(page, step):
    page.wait_for_selector(f"main[data-step={step}]")


@pytest.fixture
def study(site):
    """A study with every step; its participants."""
    make_run(site.api, num_queries=5)
    make_run(site.api, "practice", num_queries=1, seed=1)
    make_run(site.api, "examples", num_queries=1, seed=2)
    for run in ("practice", "examples"):
        say(site.api, "researcher", ["left"], run=run)
    runs = {"pairs": ["cartpole-01"], "practice": ["practice"], "examples": ["examples"]}
    return make_study(site.api, runs=runs, pairs=2, block=1, **ABOUT)


def test_the_way_through(site, browser, study):
    with opened(browser, AWAY, annotator=None) as page:
        join(page, site, study[0])
        at(page, "welcome")
        assert "link_" not in page.url and page.locator("nav a:visible").count() == 0
        prose = page.locator(".prose")
        assert prose.locator("strong").inner_text() == "Bold" and EVIL in prose.inner_text()
        assert prose.locator("li").count() == 2 and prose.locator("img").count() == 0
        assert prose.locator("a").count() == 1 and "[bad](javascript" in prose.inner_text()
        assert faults(page) == []
        click(page, "Begin")
        at(page, "consent")
        click(page, "Agree and go on")
        until(page, "document.body.textContent.includes('Tick the box')")
        page.keyboard.press("Space")  # the box has the focus
        assert faults(page) == []
        click(page, "Agree and go on")
        page.wait_for_selector("[data-step=instructions] .example video")
        captions = page.locator(".example figcaption").all_inner_texts()
        assert sorted(captions) == ["Better", "Less good"]
        click(page, "Go on")
        page.wait_for_selector("[data-step=practice] .stage video")
        page.keyboard.press("1")
        page.wait_for_selector(".feedback[data-right]")
        said = shown(page, ".feedback")
        assert said in ("Yes, that is how we see it.", "We find the right one better.")
        assert faults(page) == []
        page.keyboard.press("Enter")  # Next has the focus
        at(page, "comprehension")
        click(page, "Check the answers")
        until(page, "document.body.textContent.includes('Choose an answer to every question.')")
        page.get_by_label("fast").check()
        click(page, "Check the answers")
        until(page, "document.body.textContent.includes('You have one more try.')")
        assert faults(page) == []
        page.get_by_label("upright").check()
        click(page, "Check the answers")
        page.wait_for_selector(PAIR)
        assert page.locator("[data-action=microscope], .training").count() == 0
        assert faults(page) == []
        press(page, "1")
        at(page, "pause")
        assert "1 of 2" in shown(page, ".study-card")
        page.reload()  # comes back another time
        page.wait_for_selector(PAIR)
        press(page, "2")
        at(page, "thanks")
        code = shown(page, ".code")
        assert page.get_by_role("link", name="Back").get_attribute("href").endswith(f"cc={code}")
        assert faults(page) == []
    (first, _) = site.api.get("/api/studies/pilot").json()["participants"]
    assert first["state"] == "finished" and first["code"] == code and first["labels"] == 2
    assert [event["annotator"] for event in labels(site.api)] == ["pilot-01", "pilot-01"]


def test_three_take_part_and_the_one_who_clicks_left_always_is_named(site, browser):
    asked = make_run(site.api, num_queries=12)
    known = make_run(site.api, "checks", num_queries=3, seed=1)
    better = {first for _, first, _ in [*asked, *known]}
    answers = [{"id": str(uuid.uuid4()), "query": query, "annotator": "researcher", "label": 0} for query, *_ in known]  # fmt: skip
    assert site.api.post("/api/runs/checks/labels", json={"labels": answers}).status_code == 200
    runs = {"pairs": ["cartpole-01"], "checks": ["checks"]}
    people = make_study(site.api, people=3, runs=runs, answers_per_pair=3, checks_every=4, block=8)
    for person, looks in zip(people, (True, True, False), strict=True):
        with opened(browser, AWAY, annotator=None) as page:
            join(page, site, person)
            while page.get_attribute("main", "data-step") != "thanks":
                page.wait_for_selector(f"{PAIR}, [data-step=pause], [data-step=thanks]")
                if page.get_attribute("main", "data-step") == "pause":
                    click(page, "Go on")
                elif page.locator(PAIR).count():
                    press(page, "1" if not looks or sides(page)[0] in better else "2")
            assert shown(page, ".code")
    with opened(browser, AWAY) as page:
        page.goto(f"{site.url}/#/studies/pilot")
        page.wait_for_selector("[data-ref='03'] .doubt")
        # a script is hasty, too
        marked = page.locator("tr:has(.doubt)", has_text="nearly always left")
        assert marked.count() == 1 and marked.get_attribute("data-ref") == "03"
        assert "pilot-03 preferred the clip on the left in" in shown(page, ".doubts")
        assert faults(page) == []
    states = [person["state"] for person in site.api.get("/api/studies/pilot").json()["participants"]]  # fmt: skip
    assert states == ["finished"] * 3 and len(labels(site.api)) == 36


def test_two_devices_and_a_link_that_is_revoked_in_the_middle(site, browser):
    make_run(site.api, num_queries=4)
    (ada,) = make_study(site.api, people=1, runs={"pairs": ["cartpole-01"]})
    with opened(browser, AWAY, annotator=None) as page, opened(browser, AWAY, viewport=PHONE) as phone:  # fmt: skip
        join(page, site, ada)
        page.wait_for_selector(PAIR)
        join(phone, site, ada)
        at(phone, "elsewhere")
        click(phone, "Go on here")
        phone.wait_for_selector(PAIR)
        page.wait_for_selector(PAIR)
        page.keyboard.press("1")  # an answer is stored, and then it goes on elsewhere
        at(page, "elsewhere")
        settled(page)
        assert len(labels(site.api)) == 1
        site.api.post("/api/studies/pilot/participants/01/revoke")
        at(phone, "ended") if phone.locator(PAIR).count() == 0 else phone.keyboard.press("1")
        at(phone, "ended")
        assert "does not hold" in shown(phone, "h1")
    assert len(labels(site.api)) == 1


def test_an_open_link_knows_its_participants_again(site, browser):
    make_run(site.api, num_queries=4)
    token = links.new_token()
    make_study(site.api, people=0, runs={"pairs": ["cartpole-01"]}, open_link=links.digest(token))
    with opened(browser, AWAY, annotator=None) as page:
        for address in ("?PROLIFIC_PID=5f3a#token={}", "#token={}?PROLIFIC_PID=5f3a"):
            page.goto(f"{site.url}/{address.format(token)}")
            page.wait_for_selector(PAIR)
            press(page, "1")
            settled(page)
            page.goto("about:blank")
        people = site.api.get("/api/studies/pilot").json()["participants"]
        assert [(person["ref"], person["labels"]) for person in people] == [("5f3a", 2)]
    with opened(browser, AWAY, annotator=None) as page:  # another browser, the same name
        page.goto(f"{site.url}/?PROLIFIC_PID=5f3a#token={token}")
        at(page, "ended")
        assert "5f3a takes part already" in shown(page, ".study-card")


def test_an_open_link_is_tried_before_a_site_fills_it_in(site, browser):
    make_run(site.api, num_queries=4)
    token = links.new_token()
    runs = {"pairs": ["cartpole-01"]}
    make_study(site.api, people=0, runs=runs, open_link=links.digest(token), language="de")
    with opened(browser, AWAY, annotator=None) as page:
        page.goto(f"{site.url}/?PROLIFIC_PID={{{{%PROLIFIC_PID%}}}}#token={token}")
        page.wait_for_selector(PAIR)
        (person,) = site.api.get("/api/studies/pilot").json()["participants"]
        assert len(person["ref"]) == 8
    with opened(browser, AWAY, annotator=None) as page:
        page.goto(f"{site.url}/?PROLIFIC_PID=ada@example.org#token={token}")
        at(page, "ended")
        assert "höchstens 39" in shown(page, ".study-card")
    assert len(site.api.get("/api/studies/pilot").json()["participants"]) == 1


@pytest.mark.parametrize("block", [None, 4])
def test_a_study_with_repeats_ends(site, browser, block):
    make_run(site.api, num_queries=6, repeats=0.2)
    about = {} if block is None else {"block": block}
    ada, bob = make_study(site.api, runs={"pairs": ["cartpole-01"]}, pairs=50, **about)
    with opened(browser, AWAY, annotator=None) as page:
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        join(page, site, ada)
        for i in range(7):
            press(page, "1")
            settled(page)
            if block and i == 3:
                at(page, "pause")
                click(page, "Go on")
        at(page, "thanks")
        assert len(shown(page, ".code")) == 8
        assert sum(url.endswith("/finish") for url in asked) == 1
        assert len(labels(site.api)) == 7, "one of them a repeat"
    with opened(browser, AWAY, annotator=None) as page:  # too late
        join(page, site, bob)
        at(page, "ended")
        assert "all the participants" in shown(page, ".study-card")
        assert page.locator(".code").count() == 0


def test_whoever_can_not_finish_yet_asks_again_after_a_while(site, browser):
    make_run(site.api, num_queries=1)
    (ada,) = make_study(site.api, people=1, runs={"pairs": ["cartpole-01"]})
    with opened(browser, AWAY, annotator=None) as page:
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        refusal = {"detail": "There are pairs left to compare.", "code": "left"}
        page.route("**/api/study/finish", lambda route: route.fulfill(status=409, json=refusal))
        join(page, site, ada)
        press(page, "1")
        page.wait_for_timeout(5000)
        assert 2 <= sum(url.endswith("/finish") for url in asked) <= 4
        page.unroute("**/api/study/finish")
        at(page, "thanks")


def test_a_reply_to_the_questions_that_is_lost_costs_no_attempt(site, browser, study):
    about = {"comprehension": ABOUT["comprehension"], "attempts": 2}
    site.api.post("/api/studies/pilot/close")
    (ada,) = make_study(site.api, "second", people=1, runs={"pairs": ["cartpole-01"]}, **about)
    with opened(browser, (*AWAY, "ERR_"), annotator=None) as page:
        join(page, site, ada)
        at(page, "comprehension")

        def lose(route):
            route.fetch()
            route.abort()

        def answer(label):
            """Sends it twice, since the first reply is lost."""
            page.get_by_label(label).check()
            page.route("**/api/study/comprehension", lose)
            click(page, "Check the answers")
            mistake = "document.querySelector('.study-card > .mistake').textContent"
            until(page, f"{mistake}.includes('reached')")
            page.unroute("**/api/study/comprehension")
            click(page, "Check the answers")

        answer("fast")
        until(page, "document.body.textContent.includes('You have one more try.')")
        answer("upright")
        page.wait_for_selector(PAIR)


def test_examples_stop_by_keyboard_and_wait_where_nothing_is_to_move(site, browser, study):
    site.api.post("/api/studies/pilot/close")
    runs = {"pairs": ["cartpole-01"], "examples": ["examples"]}
    (ada,) = make_study(site.api, "second", people=1, runs=runs)
    moving = "[...document.querySelectorAll('.example video')].some(video => !video.paused)"
    for motion, name in (("no-preference", "Pause"), ("reduce", "Play")):
        with opened(browser, AWAY, annotator=None, reduced_motion=motion) as page:
            join(page, site, ada)
            if page.locator("[data-step=elsewhere]").count():
                click(page, "Go on here")
            button = page.locator(".example").get_by_role("button", name=name, exact=True)
            button.wait_for()
            assert faults(page) == []
            if motion == "reduce":
                page.wait_for_timeout(500)
                assert not page.evaluate(moving)
            else:
                until(page, moving)
            button.focus()
            page.keyboard.press("Enter")
            until(page, f"({moving}) === {'true' if motion == 'reduce' else 'false'}")
            page.locator(".example").get_by_role(
                "button", name="Play" if name == "Pause" else "Pause"
            ).wait_for()


def test_who_stops_and_the_table(site, browser):
    make_run(site.api, num_queries=2)
    (ada, bob) = make_study(site.api, runs={"pairs": ["cartpole-01"]}, smallest_seconds=1)
    # the page may ask for pairs at the moment at which it is over, and be refused
    with opened(browser, AWAY, annotator=None) as page:
        join(page, site, ada)
        page.wait_for_selector(PAIR)
        assert page.locator("[data-action=left][aria-disabled=true]").count() == 1
        page.wait_for_selector("[data-action=left][aria-disabled=false]")
        press(page, "1")
        settled(page)
        click(page, "Stop taking part")
        click(page, "Yes, stop")
        at(page, "left")
    with opened(browser, AWAY) as page:
        page.goto(f"{site.url}/#/studies")
        page.get_by_role("link", name="pilot").click()
        page.wait_for_selector("[data-ref='01']")
        assert "left" in shown(page, "[data-ref='01']")
        assert "Consent" in page.locator(".study-table th").all_inner_texts()
        assert "Times are those of" in page.locator("main").inner_text()
        assert faults(page) == []
        page.get_by_role("button", name="End the link of 02").click()
        page.get_by_role("button", name="Really end it? End the link of 02").click()
        until(
            page, "document.querySelector(\"[data-ref='02']\").textContent.includes('link ended')"
        )
    assert bob.get().status_code == 403


def test_answers_of_one_participant_are_not_sent_by_another(site, browser):
    make_run(site.api, num_queries=4)
    (ada, bob) = make_study(site.api, runs={"pairs": ["cartpole-01"]})
    with opened(browser, AWAY, annotator=None) as page:
        join(page, site, ada)
        page.wait_for_selector(PAIR)
        page.route("**/api/answers", lambda route: route.abort())
        page.keyboard.press("1")
        until(page, KEEPS_ONE_ANSWER)
        other = page.context.new_page()  # at the same computer
        page.goto("about:blank")  # one that closes takes its route along, and may yet send
        join(other, site, bob)
        with other.expect_response("**/api/answers"):
            press(other, "2")
        until(other, KEEPS_ONE_ANSWER)
        assert [event["annotator"] for event in labels(site.api)] == ["pilot-02"]
        again = page.context.new_page()
        join(again, site, ada)
        settled(again)
    assert [event["annotator"] for event in labels(site.api)] == ["pilot-02", "pilot-01"]


def test_an_annotator_is_left_out_by_a_button(site, browser):
    make_run(site.api, num_queries=2, annotators_per_query=2)
    for name in ("bob", "eve"):
        say(site.api, name, ["left"])
    with opened(browser) as page:
        page.goto(f"{site.url}/#/results/cartpole-01")
        page.get_by_role("button", name="Leave out: the labels of eve").click()
        page.get_by_role("button", name="Take in: the labels of eve").wait_for()
        assert faults(page) == []
    (_, eve) = site.api.get("/api/runs/cartpole-01/results").json()["annotators"]
    assert eve["annotator"] == "eve" and eve["excluded"]


def test_an_annotator_that_can_not_be_left_out_is_said_to_be_so(site, browser):
    make_run(site.api)
    say(site.api, "eve", ["left"])
    with opened(browser, AWAY) as page:
        page.goto(f"{site.url}/#/results/cartpole-01")
        button = page.get_by_role("button", name="Leave out: the labels of eve")
        button.wait_for()
        assert site.api.delete("/api/runs/cartpole-01").status_code < 300
        button.click()
        page.get_by_role("alert").get_by_text("There is no run cartpole-01").wait_for()


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("# One #\n\ntwo\nlines  \nof it", "<h2>One</h2><p>two\nlines<br>of it</p>"),
        ("- a\n- **b**\n  on\n\n3. c\n4) d", '<ul><li>a</li><li><strong>b</strong>\non</li></ul><ol start="3"><li>c</li><li>d</li></ol>'),
        ("> quoted\n> - item\n\nafter", "<blockquote><p>quoted</p><ul><li>item</li></ul></blockquote><p>after</p>"),
        ("`**code** <b>` and *it* **b *i* b**", "<p><code>**code** &lt;b&gt;</code> and <em>it</em> <strong>b <em>i</em> b</strong></p>"),
        ("2 * 3 * 4 and snake_case", "<p>2 * 3 * 4 and snake_case</p>"),
        ("<b>no</b> &amp; <!-- x -->", "<p>&lt;b&gt;no&lt;/b&gt; &amp;amp; &lt;!-- x --&gt;</p>"),
        ("[a](JavaScript:alert(1))", "<p>[a](JavaScript:alert(1))</p>"),
        ("[a](data:text/html,x) [b](//evil) [c]( x)", "<p>[a](data:text/html,x) [b](//evil) [c]( x)</p>"),
        ('[a](https://x.org/"onclick="y)', '<p><a href="https://x.org/&quot;onclick=&quot;y" target="_blank" rel="noopener noreferrer">a</a></p>'),
        ("\n\n \n", ""),
        (">" * 300 + " deep", None),
    ],
)  # fmt: skip
def test_markdown_becomes_elements_and_never_html(site, browser, text, html):
    with opened(browser) as page:
        page.goto(site.url)
        made = page.evaluate(
            """async (text) => {
                const { markdown } = await import("/js/study/markdown.js");
                const node = document.createElement("div");
                node.append(...markdown(text));
                return node.innerHTML;
            }""",
            text,
        )
        assert html is None or made == html
