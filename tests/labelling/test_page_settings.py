"""The settings, and who may change them."""

from pages import (
    AWAY,
    NEEDS_CHROMIUM,
    Site,
    begin,
    labels,
    make_run,
    opened,
    press,
    settled,
    shown,
    until,
)

from prefloop.labelling.server.config import KEYS
from prefloop.labelling.server.security import make_tokens

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM


def test_settings_are_changed_and_a_bad_value_gets_the_servers_sentence(site, browser):
    with opened(browser, AWAY) as page:
        page.goto(f"{site.url}/#/settings")
        page.wait_for_selector(".setting")
        save = page.get_by_role("button", name="Save")
        assert save.is_disabled()
        page.get_by_role("switch", name="equally good").uncheck()
        page.get_by_label("Speed").fill("0.5")
        page.get_by_label("Most labels of one person").fill("40")
        save.click()
        page.wait_for_selector("text=Saved")
        current = site.settings.current
        assert (current.allow_ties, current.playback_speed) == (False, 0.5)
        assert current.max_queries_per_annotator == 40
        for bad, sentence in (("99", "between 0.1 and 10, not 99"), ("fast", "number")):
            page.get_by_label("Speed").fill(bad)
            page.keyboard.press("Enter")
            page.wait_for_selector("[data-key=playback_speed] .mistake:not(:empty)")
            assert sentence in shown(page, "[data-key=playback_speed] .mistake")
        assert site.settings.current.playback_speed == 0.5
        page.get_by_label("Speed").fill("0.5")
        page.get_by_label("Most labels of one person").fill("")
        save.click()
        page.wait_for_selector("text=Saved")
        assert site.settings.current.max_queries_per_annotator is None
        disk = page.get_by_label("Disk for clips", exact=True)
        assert "10,000,000" in shown(page, "#setting-cache_size_mb-help")
        for typed, megabytes in (("20,000", 20_000), ("1,000,000", 1_000_000)):
            disk.fill(typed)
            save.click()
            until(page, "n => document.querySelector('#setting-cache_size_mb').value === n", str(megabytes))  # fmt: skip
            assert site.settings.current.cache_size_mb == megabytes
        page.get_by_label("Speed").fill("0,125")
        save.click()
        page.wait_for_selector("text=Saved")
        assert site.settings.current.playback_speed == 0.125


def test_every_key_is_told_in_words_and_can_be_found(site, browser):
    with opened(browser) as page:
        page.goto(f"{site.url}/#/settings")
        page.wait_for_selector(".setting")
        assert page.get_by_text("Other", exact=True).count() == 0
        rows = page.locator(".setting").all()
        assert {row.get_attribute("data-key") for row in rows} == set(KEYS) - {"settings_locked"}
        for row in rows:
            key = row.get_attribute("data-key")
            assert row.locator("code").inner_text() == key
            label = row.locator("label").inner_text().lower()
            assert label != key.replace("_", " ") and label  # and no name of a key
            if row.locator("input[role=switch]").count() == 0:
                assert row.locator(".unit").inner_text()
                assert "For example: " in row.inner_text()


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
            assert not page.is_visible("#studies-link")
        with opened(browser) as page:
            page.goto(site.url)
            page.wait_for_selector("#token-field")
            page.keyboard.type(tokens.trainer)
            page.keyboard.press("Enter")
            page.wait_for_selector("#studies-link:visible")
            page.evaluate(f"location.hash = '#token={tokens.annotator}'")
            page.wait_for_selector("#studies-link", state="hidden")
        assert len(labels(site.api)) == 1


def test_a_token_that_was_damaged_on_its_way_is_asked_for_again(tmp_path, browser):
    tokens = make_tokens()
    with Site(tmp_path, tokens=tokens.hashed) as site, opened(browser, AWAY) as page:
        page.goto(f"{site.url}/#token={tokens.trainer}%")
        page.wait_for_selector("text=does not hold here")
        page.locator("#token-field").fill(f"\u201c{tokens.trainer}\u201d")  # in no header
        page.keyboard.press("Enter")
        until(page, "document.querySelector('#token-field')?.value === ''")
        page.locator("#token-field").fill(tokens.trainer)
        page.keyboard.press("Enter")
        page.wait_for_selector("text=There is nothing to label yet")
