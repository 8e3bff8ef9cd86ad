"""The labelling page in Chromium, by keyboard, as an annotator uses it."""

import json
import uuid

import pages
import pytest
from pages import PHONE, add_pairs, labels, make_run, opened, until
from people import Clock
from serving import ServerProcess, serving

from prefloop.labelling.app import create_app
from prefloop.labelling.clips import ClipStore
from prefloop.labelling.config import SettingsFile
from prefloop.labelling.security import make_tokens
from prefloop.labelling.store import Store, utc_now

pytestmark = pytest.mark.skipif(pages.CHROMIUM is None, reason=pages.REASON)

AWAY = ("Failed to load resource",)  # what Chromium says of a server that refuses or is away


@pytest.fixture(scope="module")
def browser():
    with pages.chromium() as browser:
        yield browser


class Site:
    """A served application; `api` is a client of it, `url` is where its page is."""

    def __init__(self, tmp_path, clock=utc_now, **kwargs):
        self.store = Store(f"sqlite:///{tmp_path / 'labels.sqlite3'}", clock)
        self.settings = SettingsFile(tmp_path / "labelling.yaml")
        self.clips = ClipStore(tmp_path / "clips", 10**8)
        self.app = create_app(self.store, self.clips, self.settings, **kwargs)

    def __enter__(self):
        self._serving = serving(self.app)
        self.api = self._serving.__enter__()
        self.url = str(self.api.base_url).rstrip("/")
        return self

    def __exit__(self, *error):
        self._serving.__exit__(*error)
        self.store.close()


@pytest.fixture
def site(tmp_path):
    with Site(tmp_path) as site:
        yield site


def begin(page, url, name="cartpole-01"):
    page.goto(f"{url}/#/label/{name}")
    page.wait_for_selector("[data-state=pair]")


def lease(page):
    return page.get_attribute(".stage", "data-lease")


def sides(page):
    return [page.get_attribute(f"[data-side={side}]", "data-segment") for side in ("left", "right")]


def press(page, key):
    """Presses an answering key, and waits until that pair has gone."""
    before = lease(page)
    page.keyboard.press(key)
    until(
        page,
        "before => document.querySelector('main').dataset.state !== 'pair'"
        " || document.querySelector('.stage').dataset.lease !== before",
        arg=before,
    )


def undo(page):
    """Takes the last answer back, and waits until its pair is shown again."""
    before = lease(page)
    page.keyboard.press("u")
    until(
        page,
        "before => document.querySelector('main').dataset.state === 'pair'"
        " && document.querySelector('.stage').dataset.lease !== before",
        before,
    )
    page.wait_for_selector("[data-action=undo][aria-disabled=false]")


def settled(page):
    until(page, "Object.keys(localStorage).every(key => !key.startsWith('prefloop.answer.'))")  # fmt: skip


def shown(page, name):
    """Waits for a text of an element of the page."""
    return page.locator(name).inner_text()


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
    assert {event.first_was_left for event in site.store.current("cartpole-01")} == {True, False}


def test_ties_skips_and_undo(site, browser):
    make_run(site.api, num_queries=4)
    with opened(browser, AWAY) as page:
        begin(page, site.url)
        first = sides(page)
        press(page, "=")
        press(page, "s")
        press(page, "ArrowLeft")
        undo(page)
        assert "left is better" in shown(page, ".last")
        press(page, "ArrowRight")
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
    standing = site.store.current("cartpole-01")
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


def test_both_clips_play_in_step_and_begin_again(site, browser):
    make_run(site.api, num_queries=1, length=40)
    times = "Array.from(document.querySelectorAll('video'), video => video.currentTime)"
    with opened(browser) as page:
        begin(page, site.url)
        # the greatest distance between the two while they play, and how often they begin again
        found = page.evaluate("""async () => {
            const videos = [...document.querySelectorAll("video")];
            let apart = 0, rounds = 0, last = 0, frames = 0;
            while (rounds < 3 && frames < 3000) {
                await new Promise(requestAnimationFrame);
                const [one, other] = videos.map((video) => video.currentTime);
                if (videos.every((video) => !video.seeking && !video.paused)) {
                    apart = Math.max(apart, Math.abs(one - other));
                }
                if (one < last - 0.3) rounds++;
                [last, frames] = [one, frames + 1];
            }
            return {apart, rounds};
        }""")
        assert found["rounds"] == 3
        assert found["apart"] < 0.25
        page.keyboard.press(" ")
        page.wait_for_selector("[data-action=play][aria-label=Play]")
        until(page, "[...document.querySelectorAll('video')].every(v => v.paused && !v.seeking)")  # fmt: skip
        at = page.evaluate(times)
        assert at[0] == at[1]
        start = int(shown(page, ".frame").split(" / ")[0])
        page.keyboard.press(",")
        expected = (start - 2) % 40 + 1
        until(page, "n => document.querySelector('.frame').textContent === `${n} / 40`", expected)  # fmt: skip
        until(
            page,
            "t => [...document.querySelectorAll('video')].every(v => Math.abs(v.currentTime - t) < 1e-3)",
            arg=(expected - 0.5) / 50,
        )
        page.keyboard.press(".")
        page.keyboard.press(".")
        expected = start % 40 + 1
        until(page, "n => document.querySelector('.frame').textContent === `${n} / 40`", expected)  # fmt: skip
        page.locator(".scrub").fill("10")
        until(page, "[...document.querySelectorAll('video')].every(v => Math.abs(v.currentTime - 10.5 / 50) < 1e-3)")  # fmt: skip
        page.keyboard.press(">")
        assert shown(page, ".speed") == "1.5\u00d7"
        page.keyboard.press("<")
        page.keyboard.press("<")
        assert shown(page, ".speed") == "0.75\u00d7"


def test_a_shorter_clip_waits_for_the_longer(site, browser):
    api = site.api
    make_run(api, num_queries=0)
    (long,) = add_pairs(api, "cartpole-01", 1, length=40)
    (short,) = add_pairs(api, "cartpole-01", 1, length=12, seed=3)
    extra = str(uuid.uuid4())
    body = {"queries": [{"id": extra, "first": long[1], "second": short[1]}]}
    assert api.post("/api/runs/cartpole-01/queries", json=body).status_code == 204
    with opened(browser) as page:
        begin(page, site.url)
        while set(sides(page)) != {long[1], short[1]}:
            press(page, "1")
            page.wait_for_selector("[data-state=pair]")
        page.wait_for_selector(".clip.over")
        side = page.get_attribute(".clip.over", "data-side")
        assert shown(page, f"[data-side={side}] .steps") == "12 steps"
        page.wait_for_selector(".clip.over", state="detached")  # both have begun again
        settled(page)


def test_a_trim_arrives_and_can_be_taken_back(site, browser):
    make_run(site.api, num_queries=4, length=20)

    def go_to(page, frame):
        page.locator(".scrub").fill(str(frame - 1))
        until(page, "n => document.querySelector('.frame').textContent === `${n} / 20`", frame)  # fmt: skip
        page.locator(".scrub").blur()

    with opened(browser) as page:
        begin(page, site.url)
        go_to(page, 5)
        page.keyboard.press("i")
        go_to(page, 12)
        page.keyboard.press("o")
        assert shown(page, ".range") == "frames 5 to 12"
        # only that part plays
        page.keyboard.press("r")
        page.keyboard.press(" ")
        seen = page.evaluate("""async () => {
            const seen = new Set();
            for (let i = 0; i < 90; i++) {
                await new Promise(requestAnimationFrame);
                seen.add(Number(document.querySelector(".frame").textContent.split(" / ")[0]));
            }
            return [...seen];
        }""")
        assert 5 <= min(seen) <= max(seen) <= 12
        press(page, "ArrowLeft")
        assert shown(page, ".range") == "all compared"
        # by its handles, and then all again
        page.locator(".trim-start").fill("3")
        assert shown(page, ".range") == "frames 4 to 20"
        page.locator(".trim-start").blur()
        page.keyboard.press("x")
        press(page, "ArrowRight")
        page.locator(".trim-stop").fill("1")
        page.locator(".trim-stop").blur()
        press(page, "=")
        settled(page)
    trims = [event["trim"] for event in labels(site.api)]
    assert trims == [{"start": 4, "stop": 12}, None, {"start": 0, "stop": 1}]


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
        press(page, "2")
        settled(page)
    (event,) = labels(site.api)
    assert event["label"] in (0, 1)
    assert event["trim"] is None


def test_a_tie_that_was_switched_off_meanwhile_is_not_stored(site, browser):
    make_run(site.api, num_queries=3)
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


def test_the_next_pair_plays_at_once(site, browser):
    make_run(site.api, num_queries=6)
    with opened(browser, (*AWAY, "ERR_")) as page:
        begin(page, site.url)
        page.wait_for_load_state("networkidle")
        # without a server, since the clips of the next pairs are here already
        page.route("**/clips/*", lambda route: route.abort())
        for _ in range(2):
            page.keyboard.press("ArrowLeft")
            page.evaluate("new Promise(requestAnimationFrame)")
            assert page.get_attribute("main", "data-state") == "pair"
            assert page.locator(".stage video").count() == 2
            ready = "[...document.querySelectorAll('.stage video')].every(v => v.readyState >= 2)"
            assert page.evaluate(ready)
        until(page, "[...document.querySelectorAll('.stage video')].every(v => v.currentTime > 0.1)")  # fmt: skip
        page.unroute("**/clips/*")
        settled(page)


def test_an_empty_queue_says_so_and_fills_by_itself(site, browser):
    make_run(site.api, num_queries=1)
    with opened(browser) as page:
        begin(page, site.url)
        press(page, "1")
        page.wait_for_selector("[data-state=finished]")
        assert "All pairs are done" in shown(page, ".message")
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


def test_clips_that_are_not_rendered_yet_are_waited_for(site, browser):
    ((_, first, second),) = make_run(site.api, num_queries=1, clips=False)
    with opened(browser) as page:
        page.goto(f"{site.url}/#/label/cartpole-01")
        until(page, "document.querySelector('.message')?.textContent.includes('on their way')")  # fmt: skip
        for id, segment in zip((first, second), pages.make_segments(2), strict=True):
            site.api.put(f"/api/segments/{id}/clip", content=pages.clip_of(segment))
        page.wait_for_selector("[data-state=pair]")
        press(page, "1")
        settled(page)
    assert len(labels(site.api)) == 1


def test_what_cannot_be_drawn_is_plotted(site, browser):
    ((_, first, second),) = make_run(site.api, num_queries=1, clips=False)
    for id in (first, second):
        site.store.set_clip_error(uuid.UUID(id), "CartPole-v1 can't be drawn <b>here</b>.")
    with opened(browser) as page:
        begin(page, site.url)
        assert page.locator(".trace-line").count() == 10
        assert "can't be drawn <b>here</b>" in page.locator(".note").first.inner_text()
        at = "document.querySelector('.trace-cursor').getAttribute('x1')"
        until(page, f"Number({at}) > 100")
        press(page, "2")
        settled(page)
    assert len(labels(site.api)) == 1


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


def test_an_answer_of_an_unknown_lease_is_kept_until_it_is_discarded(site, browser):
    make_run(site.api)
    id = str(uuid.uuid4())
    said = {"id": id, "lease": str(uuid.uuid4()), "choice": "left", "trim": None, "seconds": 1}
    with opened(browser, AWAY) as page:
        page.goto(site.url)
        page.wait_for_selector(".run")
        entry = json.dumps({"said": said, "at": 1, "aside": None})
        page.evaluate("([key, entry]) => localStorage.setItem(key, entry)", [f"prefloop.answer.{id}", entry])  # fmt: skip
        page.reload()
        page.wait_for_selector(".notice")
        assert "1 answer was not taken" in shown(page, ".notice")
        page.reload()
        page.wait_for_selector(".notice")
        page.get_by_role("button", name="Discard").click()
        settled(page)
        assert page.locator(".notice").count() == 0


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
        assert page.get_by_role("link", name="Label cartpole-01").count() == 1


def say(api, annotator, choices, run="cartpole-01", **more):
    """Answers by the API, as another page would give them; the queries."""
    wish = {"annotator": annotator, "session": str(uuid.uuid4()), "count": len(choices)}
    given = api.post(f"/api/runs/{run}/leases", json=wish).json()["queries"]
    for query, choice in zip(given, choices, strict=True):
        said = {"id": str(uuid.uuid4()), "lease": query["lease"], "choice": choice, **more}
        assert api.post("/api/answers", json=said).status_code == 200
    return [query["query"] for query in given]


def report(api, *hard, accuracy=0.75):
    """What a trainer says of its reward model; hard pairs as (query, label, probability)."""
    hardest = [dict(zip(("query", "label", "probability"), pair, strict=True)) for pair in hard]
    body = {"accuracy": accuracy, "labels": 4, "hardest": hardest}
    assert api.put("/api/runs/cartpole-01/reward-report", json=body).status_code == 204


def test_results(site, browser):
    make_run(site.api, num_queries=3, clips=False, annotators_per_query=2)
    with opened(browser) as page:
        page.goto(f"{site.url}/#/results/cartpole-01")
        page.wait_for_selector("text=No labels yet")
        for name in ("ada", "grace"):
            (query, *_) = say(site.api, name, ["tie"] * 3, seconds=2)
        report(site.api, (query, 0.5, 0.9))
        page.wait_for_selector("text=of 4 labels agree with the reward model")
        assert "100%" in shown(page, ".fact:has-text('Annotators agree')")
        assert "2.0 s" in shown(page, ".fact:has-text('Seconds per label')")
        assert "80% between 2.0 and 2.0" in shown(page, ".fact:has-text('Seconds per label')")
        assert page.locator(".chart .dot").count() == 6
        assert page.locator(".chart .line.own").count() == 2
        assert page.locator(".bar-name").all_inner_texts() == ["ada", "grace"] * 2 + ["together"]
        assert "2.0 / 2.0 / 2.0" in shown(page, "table >> nth=0")
        assert "ada and grace" in shown(page, "table >> nth=1")


def test_the_hardest_pairs_are_shown_with_what_people_and_the_model_say(site, browser):
    asked = make_run(site.api, num_queries=4, annotators_per_query=2)
    make_run(site.api, "other", num_queries=1)
    queries = say(site.api, "ada", ["left", "left", "tie", "skip"])
    say(site.api, "bob", ["right", "tie", "tie", "skip"])
    chosen = site.store.current("cartpole-01")[1].label
    report(
        site.api,
        (queries[0], 0, 0.93),
        (queries[1], chosen, 0.93 - 0.86 * chosen),
        (queries[2], 0.5, 0.999),
        (queries[3], 0, 0.502),
    )
    with opened(browser, AWAY) as page:
        page.goto(f"{site.url}/#/results/cartpole-01")
        page.wait_for_selector(".hard-pair")
        pair = page.locator(".hard-pair")
        assert [one.get_attribute("data-query") for one in pair.all()] == queries
        for one, (_, *segments) in zip(pair.all(), asked, strict=True):
            shown_segments = [f.get_attribute("data-segment") for f in one.locator("figure").all()]
            assert shown_segments == segments
        words = {0.0: "first", 0.5: "equal", 1.0: "second", None: "can't tell"}
        for query, one in zip(queries, pair.all(), strict=True):
            said = one.locator(".said li").all_inner_texts()
            labels = [e for e in site.store.current("cartpole-01") if str(e.query) == query]
            assert said == [f"{event.annotator}: {words[event.label]}" for event in labels]
        other = "second" if chosen == 0 else "first"
        model = [text.rstrip(".") for text in page.locator(".model").all_inner_texts()]
        assert model[1] == f"The model is 93% sure of the other: the {other}"
        assert model[2] == "The model is more than 99% sure of the second"
        assert model[3] == "The model can't tell them apart"
        # nothing moves before it is asked to; then both do, and one pair at a time
        assert page.locator(".hard-pair video").count() == 0  # they are not in sight yet
        pair.first.scroll_into_view_if_needed()
        until(page, "document.querySelector('.hard-pair').querySelectorAll('video').length === 2")
        pair.last.scroll_into_view_if_needed()
        until(page, "document.querySelectorAll('.hard-pair video').length === 8")
        still = "[...document.querySelectorAll('.hard-pair video')].every(v => v.paused)"
        assert page.evaluate(still)
        moving = "[...document.querySelectorAll('.hard-pair')].map(p => [...p.querySelectorAll('video')].some(v => v.currentTime > 0.1))"  # fmt: skip
        page.get_by_role("button", name="Play pair 1").click()
        until(page, f"({moving})[0]")
        page.get_by_role("button", name="Play pair 2").click()
        until(page, f"({moving})[1] && !({moving})[0]")
        page.get_by_role("button", name="Stop pair 2").press("Enter")
        until(page, still)
        page.locator(".hard-pair .clips").first.hover()
        until(page, f"({moving})[0]")
        page.mouse.move(0, 0)
        until(page, still)
        # what has not changed stays as it is when more is known
        button = page.get_by_role("button", name="Play pair 4")
        button.focus()
        add_pairs(site.api, "cartpole-01", 1, seed=5)
        say(site.api, "ada", ["left"])
        page.wait_for_selector(".fact:has-text('Labels') >> text=9")
        assert button.evaluate("node => node === document.activeElement")


def test_a_hard_pair_whose_clip_is_gone_is_plotted(site, tmp_path, browser):
    make_run(site.api, num_queries=1)
    (query,) = say(site.api, "ada", ["left"])
    report(site.api, (query, 0, 0.9))
    for clip in (tmp_path / "clips").glob("**/*.mp4"):
        clip.unlink()
    with opened(browser, AWAY) as page:
        page.goto(f"{site.url}/#/results/cartpole-01")
        until(page, "document.querySelectorAll('.hard-pair .trace-line').length === 10")
        page.get_by_role("button", name="Play pair 1").click()
        until(page, "Number(document.querySelector('.trace-cursor').getAttribute('x1')) > 100")


def test_settings_are_changed_and_a_bad_value_gets_the_servers_sentence(site, browser):
    with opened(browser, AWAY) as page:
        page.goto(f"{site.url}/#/settings")
        page.wait_for_selector(".setting")
        save = page.get_by_role("button", name="Save")
        assert save.is_disabled()
        page.get_by_role("switch", name="Allow ties").uncheck()
        page.get_by_label("Playback speed").fill("0.5")
        page.get_by_label("Max queries per annotator").fill("40")
        save.click()
        page.wait_for_selector("text=Saved")
        current = site.settings.current
        assert (current.allow_ties, current.playback_speed) == (False, 0.5)
        assert current.max_queries_per_annotator == 40
        for bad, sentence in (("99", "between 0.1 and 10, not 99"), ("fast", "number")):
            page.get_by_label("Playback speed").fill(bad)
            page.keyboard.press("Enter")
            page.wait_for_selector("[data-key=playback_speed] .mistake:not(:empty)")
            assert sentence in shown(page, "[data-key=playback_speed] .mistake")
        assert site.settings.current.playback_speed == 0.5
        page.get_by_label("Playback speed").fill("0.5")
        page.get_by_label("Max queries per annotator").fill("")
        save.click()
        page.wait_for_selector("text=Saved")
        assert site.settings.current.max_queries_per_annotator is None


def test_locked_settings_can_be_read_only(tmp_path, browser):
    (tmp_path / "labelling.yaml").write_text("settings_locked: true\n")
    with Site(tmp_path) as site, opened(browser) as page:
        page.goto(f"{site.url}/#/settings")
        page.wait_for_selector("text=The settings are locked")
        assert page.locator(".setting input:enabled").count() == 0
        assert not page.locator(".save-bar").is_visible()


def test_a_token_comes_by_the_address_or_by_hand(tmp_path, browser):
    tokens = make_tokens()
    with Site(tmp_path, tokens=tokens.hashed) as site:
        site.api.headers["authorization"] = f"Bearer {tokens.trainer}"
        make_run(site.api, num_queries=2)
        with opened(browser) as page:
            page.goto(f"{site.url}/#token={tokens.annotator}")
            page.wait_for_selector(".run")
            assert "token" not in page.url
            begin(page, site.url)
            press(page, "1")
            settled(page)
            page.goto(f"{site.url}/#/settings")
            page.wait_for_selector("text=Only trainers may change")
            assert page.locator(".setting input:enabled").count() == 0
            page.reload()
            page.wait_for_selector(".setting")
        with opened(browser, AWAY) as page:
            page.goto(site.url)
            page.wait_for_selector("#token-field")
            page.keyboard.type("wrong")
            page.keyboard.press("Enter")
            page.wait_for_selector("text=does not hold here")
            page.locator("#token-field").fill(tokens.annotator)
            page.keyboard.press("Enter")
            page.wait_for_selector(".run")
        assert len(labels(site.api)) == 1


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
        assert shown(page, "[data-action=left]") == "Upper is better"
        for action in ("left", "right", "tie", "skip", "undo"):
            assert page.locator(f"[data-action={action}]").bounding_box()["height"] >= 44
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        for place in ("#/", "#/results/cartpole-01", "#/settings"):
            page.goto(f"{site.url}/{place}")
            page.wait_for_selector("main h1")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), place
        settled(page)


def test_help_and_colours(site, browser):
    make_run(site.api, num_queries=2)
    with opened(browser) as page:
        begin(page, site.url)
        page.keyboard.press("?")
        page.wait_for_selector("#help-dialog[open]")
        assert "take back the last answer" in shown(page, "#help-dialog")
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
