"""What is stored of a person, on the page; and the researcher's buttons that delete it, or export without names."""

import io
import json
import zipfile

from accessibility import faults
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
from taking_part import make_study

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM


def typed(page, name):
    """Types a name into the question, and says yes."""
    last = page.get_by_role("button", name="Delete for good")
    assert last.is_disabled()
    page.locator("#confirm-typed").fill(name)
    assert faults(page) == []
    last.click()
    until(page, "!document.querySelector('dialog[open]')")


def test_an_annotator_reads_what_is_stored(site, browser):
    make_run(site.api, num_queries=3)
    with opened(browser, AWAY) as page:
        page.goto(f"{site.url}/#/data")
        until(page, "document.body.textContent.includes('Nothing is stored under this name.')")
        begin(page, site.url)
        press(page, "1")
        settled(page)
        page.locator("#name-button").click()
        page.get_by_role("link", name="What is stored about you").click()
        page.wait_for_selector(".data-list")
        said = shown(page, ".study-card")
        assert (
            "1 answer, 0 pairs skipped, 0 answers taken back" in said and "in the study" not in said
        )
        assert "say this name: ada" in said and faults(page) == []
        page.locator("#name-button").click()
        page.locator("#name-field").fill("eve")
        page.keyboard.press("Enter")
        until(page, "document.body.textContent.includes('Nothing is stored under this name.')")
        page.get_by_role("button", name="Back").click()
        page.wait_for_selector("[data-page=runs]")


def test_a_participant_reads_it_and_is_forgotten_in_the_middle(site, browser):
    make_run(site.api, num_queries=4)
    runs = {"pairs": ["cartpole-01"]}
    (ada, _) = make_study(site.api, runs=runs, privacy="Ask **us**.", pairs=2)
    with opened(browser, AWAY, viewport=PHONE, annotator=None) as page:
        page.goto(f"{site.url}/#token={ada.token}")
        page.wait_for_selector("[data-step=pairs][data-state=pair]")
        press(page, "1")
        settled(page)
        page.get_by_role("button", name="Your data").click()
        page.wait_for_selector(".data-list")
        said = shown(page, ".study-card")
        assert "Ask us." in said and "01 in the study pilot" in said and "1 answer," in said
        assert faults(page) == []
        page.get_by_role("button", name="Back").click()
        page.wait_for_selector("[data-step=pairs][data-state=pair]")
        with opened(browser) as desk:
            desk.goto(f"{site.url}/#/studies/pilot")
            desk.get_by_role("button", name="Delete all that is stored of 01").click()
            asked = shown(desk, "#confirm-lost")
            assert "1 answer, 0 skips" in asked and "in the study pilot" in asked
            typed(desk, "pilot-01")
            until(desk, "!document.querySelector(\"[data-ref='01']\")")
            assert desk.locator("[data-ref='02']").count() == 1
        page.keyboard.press("1")
        page.wait_for_selector("[data-step=ended]")
        assert "what was stored about you was deleted" in shown(page, ".study-card")
    assert labels(site.api) == []


def test_an_annotator_is_forgotten_by_a_button(site, browser):
    make_run(site.api, num_queries=2, annotators_per_query=2)
    for name in ("bob", "eve"):
        say(site.api, name, ["left"])
    with opened(browser) as page:
        page.goto(f"{site.url}/#/results/cartpole-01")
        page.get_by_role("button", name="Delete all that is stored of eve").click()
        typed(page, "eve")
        until(page, "!document.body.textContent.includes('eve')")
    assert {event["annotator"] for event in labels(site.api)} == {"bob"}


def test_a_study_is_deleted_by_a_button(site, browser):
    make_run(site.api, num_queries=2)
    (ada, _) = make_study(site.api, runs={"pairs": ["cartpole-01"]})
    ada.enter()
    assert ada.label_all() == 2
    with opened(browser) as page:
        page.goto(f"{site.url}/#/studies/pilot")
        page.get_by_role("button", name="Delete the study …").click()
        assert "2 participants with their links" in shown(page, "#confirm-lost")
        page.get_by_label("Delete their answers, too").check()
        typed(page, "pilot")
        until(page, "document.body.textContent.includes('There is no study yet')")
    assert labels(site.api) == [] and ada.get().status_code == 403


def test_an_export_without_names_is_saved(site, browser):
    make_run(site.api, num_queries=2)
    say(site.api, "Zebedee", ["left"])
    with opened(browser) as page:
        page.goto(site.url)
        page.get_by_role("button", name="Manage cartpole-01").click()
        assert faults(page) == []
        for button, is_named in (("Export", True), ("Export without names", False)):
            with page.expect_download() as download:
                page.get_by_role("button", name=button, exact=True).click()
            with download.value.path().open("rb") as file:
                archive = zipfile.ZipFile(io.BytesIO(file.read()))
            (line,) = archive.read("preferences.jsonl").decode().splitlines()
            assert (json.loads(line)["annotator"] == "Zebedee") == is_named
            assert download.value.suggested_filename == "cartpole-01.zip"
