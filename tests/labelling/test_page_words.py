"""The page's own words: the same in every language, and no English left on a participant's way."""

import json
import re
import shutil

import pytest
from accessibility import faults
from calls import fill
from pages import (
    AWAY,
    NEEDS_CHROMIUM,
    PHONE,
    Site,
    cut,
    make_run,
    mend,
    opened,
    press,
    say,
    settled,
    until,
)
from taking_part import make_study

from prefloop.labelling.server.app import STATIC
from prefloop.labelling.server.languages import languages_of

pytest_plugins = ["page_fixtures"]

WORDS = STATIC / "js" / "words"
LANGUAGES = languages_of(STATIC)
# a researcher's texts, which are no words of any language
ABOUT = {
    "title": "T1", "welcome": "W1", "consent": "C1", "instructions": "I1", "pause": "P1", "thanks": "X1",
    "privacy": "R1", "comprehension": [{"question": "Q1", "options": ["O1", "O2"], "right": "O2"}],
    "return_address": "https://app.example.org/done?cc={code}",
}  # fmt: skip
# names, keys and units that are the same in all languages
SAME = {"prefloop", "pilot", "esc", "min"}


def words_of(language):
    """The words of a language: what its file holds after the first line of code is JSON."""
    _, _, data = (WORDS / f"{language}.js").read_text(encoding="utf-8").partition("export default ")
    return json.loads(data.strip().removesuffix(";"))


def forms(value):
    return [value] if isinstance(value, str) else list(value.values())


def places(text):
    return sorted(set(re.findall(r"\{\w+\}", text)))


def test_there_are_english_and_two_more():
    assert LANGUAGES == ["de", "en", "fr"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_words_with_the_same_places(language):
    own, english = words_of(language), words_of("en")
    assert list(own) == list(english)
    for name, value in own.items():
        assert isinstance(value, str) == isinstance(english[name], str), name
        assert all(form.strip() for form in forms(value)), name
        wanted = places(" ".join(forms(english[name])))
        assert places(" ".join(forms(value))) == wanted, name
        if not isinstance(value, str):
            assert "other" in value, name
            assert set(value) <= {"zero", "one", "two", "few", "many", "other"}, name
            # 1 need not be told; more than that must be
            assert places(value["other"]) == wanted, name


@pytest.mark.parametrize("language", [one for one in LANGUAGES if one != "en"])
def test_another_language_is_not_english(language):
    own, english = words_of(language), words_of("en")
    same = [value for name, value in own.items() if value == english[name]]
    # single words may be the same in both
    assert [text for text in same if " " in str(text)] == [] and len(same) < 8


def test_every_reason_that_the_server_names_has_words():
    server = (STATIC.parent).rglob("*.py")
    text = "".join(path.read_text(encoding="utf-8") for path in server)
    named = set(re.findall(r'(?:ConflictError|NotFoundError|ForbiddenError)\(\s*f?"[^"]*"(?:\s*"[^"]*")*,\s*"([a-z-]+)",?\s*\)', text))  # fmt: skip
    assert {"full", "late", "elsewhere", "ended", "joined"} <= named
    assert {f"refused-{one}" for one in named} <= set(words_of("en"))


def test_a_language_without_words_is_refused_and_those_are_listed(site):
    fill(site.api, "asked")
    body = {"about": {"language": "xx"}, "runs": {"pairs": ["asked"]}}
    reply = site.api.put("/api/studies/pilot", json=body)
    assert reply.status_code == 409 and "'xx'; choose from de, en, fr." in reply.json()["detail"]
    assert site.api.get("/api/health").json()["languages"] == ["de", "en", "fr"]


def read_aloud(page):
    """All that a page says now: visible text, names of what is seen, titles and descriptions."""
    return page.evaluate(
        """() => {
            const seen = (node) => node.checkVisibility();
            const told = [document.title, document.body.innerText];
            for (const node of document.querySelectorAll("body *")) {
                if (!seen(node)) continue;
                for (const name of ["aria-label", "title", "alt", "placeholder", "aria-valuetext"]) told.push(node.getAttribute(name) ?? "");
            }
            return told.join("\\n");
        }"""
    )


def foreign(page, language):
    """Words on the page that its language's file does not have."""
    assert page.evaluate("document.documentElement.lang") == language
    known = {
        w for value in words_of(language).values() for form in forms(value) for w in split(form)
    }
    months = set(split(" ".join(page.evaluate(
        "locale => [...Array(12).keys()].map(m => new Date(2026, m, 9).toLocaleString(locale, {day: 'numeric', month: 'short'}))",
        language,
    ))))  # fmt: skip
    return set(split(read_aloud(page))) - known - months - SAME


def split(text):
    """Its words, in small letters; what holds a digit is none, nor is a completion code."""
    text = re.sub(r"\b[A-Z2-9]{8}\b", "", text)
    return [w for w in re.findall(r"[^\W_]{2,}", text.lower()) if not re.search(r"\d", w)]


@NEEDS_CHROMIUM
@pytest.mark.parametrize("language", [one for one in LANGUAGES if one != "en"])
def test_no_english_is_left_on_the_way(site, browser, language):
    make_run(site.api, num_queries=5)
    make_run(site.api, "practice", num_queries=1, seed=1)
    make_run(site.api, "examples", num_queries=1, seed=2)
    for run in ("practice", "examples"):
        say(site.api, "researcher", ["left"], run=run)
    runs = {"pairs": ["cartpole-01"], "practice": ["practice"], "examples": ["examples"]}
    ada, bob = make_study(site.api, runs=runs, pairs=3, block=2, language=language, **ABOUT)
    words = words_of(language)
    with opened(browser, AWAY, annotator=None) as page:

        def look(step):
            page.wait_for_selector(f"main[data-step={step}]")
            assert foreign(page, language) == set(), step

        def primary():
            page.locator(".study-card button.primary").click()

        page.goto(f"{site.url}/#token={ada.token}")
        look("welcome")
        page.locator(".data-button").click()
        look("data")
        assert faults(page) == []
        primary()
        look("welcome")
        primary()
        look("consent")
        primary()
        until(page, "words => document.body.textContent.includes(words)", words["agreeFirst"])
        look("consent")
        page.locator("#agree").check()
        primary()
        page.wait_for_selector("[data-step=instructions] .example video")
        look("instructions")
        primary()
        page.wait_for_selector("[data-step=practice] .stage video")
        page.keyboard.press("1")
        page.wait_for_selector(".feedback[data-right]")
        look("practice")
        page.keyboard.press("Enter")
        page.wait_for_selector("main[data-step=comprehension]")
        page.get_by_label("O1").check()
        primary()
        until(page, "words => document.body.textContent.includes(words)", words["tries"]["one"])
        look("comprehension")
        page.get_by_label("O2").check()
        primary()
        page.wait_for_selector("[data-step=pairs][data-state=pair]")
        page.locator(".fold").click()
        page.locator("[data-action=trimStart]").click()
        look("pairs")
        page.keyboard.press("?")
        page.wait_for_selector("#help-dialog[open]")
        look("pairs")
        page.keyboard.press("Escape")
        page.locator(".leave").click()
        look("pairs")
        page.keyboard.press("Escape")
        cut(page)
        press(page, "1")
        page.wait_for_selector("#offline:not([hidden])")
        look("pairs")
        mend(page)
        settled(page)
        page.keyboard.press("u")
        until(page, "words => document.querySelector('.last').textContent.startsWith(words)", words["takenBack"])  # fmt: skip
        look("pairs")
        for key in ("1", "2"):
            page.wait_for_selector("[data-action=left][aria-disabled=false]")
            press(page, key)
        look("pause")
        primary()
        page.wait_for_selector("[data-step=pairs][data-state=pair]")
        press(page, "2")
        look("thanks")
        page.locator(".data-button").click()
        look("data")
    with opened(browser, AWAY, viewport=PHONE, annotator=None) as page:
        page.goto(f"{site.url}/#token={bob.token}")
        page.wait_for_selector("main[data-step=welcome]")
        site.api.post("/api/people/forget", json={"annotator": "pilot-02"})
        page.locator(".study-card button.primary").click()
        until(page, "words => document.body.textContent.includes(words)", words["refused-ended"])
        assert foreign(page, language) == set()
        page.reload()  # nobody knows any more of which study it was: the browser does
        page.wait_for_selector("main[data-step=ended]")
        assert foreign(page, language) == set()


@NEEDS_CHROMIUM
def test_a_language_costs_a_file(tmp_path, browser):
    static = tmp_path / "static"
    shutil.copytree(STATIC, static)
    text = (WORDS / "en.js").read_text(encoding="utf-8")
    upper = text.replace('"begin": "Begin"', '"begin": "Alku"').replace('"en-GB"', '"fi"')
    (static / "js" / "words" / "fi.js").write_text(upper, encoding="utf-8")
    with Site(tmp_path, static=static) as site:
        make_run(site.api, num_queries=1)
        runs = {"pairs": ["cartpole-01"]}
        (ada,) = make_study(site.api, people=1, runs=runs, welcome="W1", language="fi")
        with opened(browser, annotator=None) as page:
            page.goto(f"{site.url}/#token={ada.token}")
            page.get_by_role("button", name="Alku").wait_for()
            assert page.evaluate("document.documentElement.lang") == "fi"
