"""The page with a screen reader, by keyboard, in the dark, and where nothing is to move."""

import re

import pytest
from pages import (
    AWAY,
    NEEDS_CHROMIUM,
    begin,
    labels,
    make_run,
    opened,
    press,
    report,
    say,
    settled,
    shown,
    until,
)

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM

PLACES = {
    "#/": ".run",
    "#/label/cartpole-01": "[data-state=pair]",
    "#/results/cartpole-01": ".hard-pair",
    "#/settings": ".setting",
}
# what WCAG 2 calls contrast, of every text that can be seen; backgrounds are what lies under it
CONTRASTS = """() => {
    const parse = (text) => {
        const [r, g, b, alpha = 1] = text.match(/[\\d.]+/g).map(Number);
        return {rgb: [r, g, b], alpha};
    };
    const over = ({rgb, alpha}, under) => rgb.map((value, i) => alpha * value + (1 - alpha) * under[i]);
    const luminance = (rgb) => {
        const [r, g, b] = rgb.map((v) => v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const text = texts.currentNode.textContent.trim();
        const node = texts.currentNode.parentElement;
        if (!text || !node.checkVisibility({visibilityProperty: true})) continue;
        if (node.closest(".unseen, .skip-link, noscript, [aria-disabled=true], :disabled")) continue;
        const parents = [];
        for (let parent = node; parent; parent = parent.parentElement) parents.unshift(parent);
        const styles = parents.map((parent) => getComputedStyle(parent));
        const ground = styles.reduce((under, style) => over(parse(style.backgroundColor), under), [255, 255, 255]);
        const ink = parse(node instanceof SVGElement ? styles.at(-1).fill : styles.at(-1).color);
        ink.alpha *= styles.reduce((product, style) => product * Number(style.opacity), 1);
        const [lighter, darker] = [luminance(over(ink, ground)), luminance(ground)].sort((one, other) => other - one);
        found.push([text.slice(0, 40), (lighter + 0.05) / (darker + 0.05)]);
    }
    return found;
}"""


@pytest.fixture
def labelled(site):
    """A run with everything that a page can show of one."""
    make_run(site.api, num_queries=3, annotators_per_query=2, instructions="Watch the pole.")
    query, *_ = say(site.api, "grace", ["left", "tie", "skip"], seconds=2)
    say(site.api, "bob", ["right"], seconds=3)
    report(site.api, (query, 0, 0.9))
    return site


def faint(page):
    found = page.evaluate(CONTRASTS)
    assert len(found) > 10
    return [(text, round(ratio, 2)) for text, ratio in found if ratio < 4.5]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(labelled, browser, scheme):
    with opened(browser, (*AWAY, "ERR_"), color_scheme=scheme) as page:
        for place, sign in PLACES.items():
            page.goto(f"{labelled.url}/{place}")
            page.wait_for_selector(sign)
            assert faint(page) == [], place
        begin(page, labelled.url)
        page.keyboard.press("?")
        page.wait_for_selector("#help-dialog[open]")
        assert faint(page) == []
        page.keyboard.press("Escape")
        page.locator("#name-button").click()
        page.locator("#name-field").fill("")
        page.keyboard.press("Enter")
        page.wait_for_selector("#name-mistake:not(:empty)")
        assert faint(page) == []
        page.keyboard.press("Escape")
        # offline, narrowed, and then refused
        page.route("**/api/**", lambda route: route.abort())
        page.keyboard.press("o")
        press(page, "=")
        page.wait_for_selector("#offline:not([hidden])")
        assert faint(page) == []
        labelled.settings.change({"allow_ties": False})
        page.unroute("**/api/**")
        page.wait_for_selector(".notice")
        assert faint(page) == []


def test_every_control_has_a_name(labelled, browser):
    control = re.compile(
        r"^\s*- '?(button|link|slider|textbox|switch|progressbar|img|dialog|region)\b"
    )
    with opened(browser) as page:
        for place, sign in PLACES.items():
            page.goto(f"{labelled.url}/{place}")
            page.wait_for_selector(sign)
            lines = page.locator("body").aria_snapshot().splitlines()
            controls = [line for line in lines if control.match(line)]
            assert len(controls) > 5
            assert [line for line in controls if ' "' not in line] == [], place
        for button, dialog in (("#help-button", "help"), ("#name-button", "name")):
            page.locator(button).click()
            opened_dialog = page.locator(f"#{dialog}-dialog[open]")
            snapshot = opened_dialog.aria_snapshot()
            assert re.match(r'- dialog "\w', snapshot), snapshot
            page.keyboard.press("Escape")
            # whoever opened it is where they were
            until(page, "id => '#' + document.activeElement.id === id", button)


def test_answers_and_pairs_are_told_of_and_the_focus_stays(site, browser):
    make_run(site.api, num_queries=4)

    def told(text):
        until(page, "t => document.querySelector('#polite').textContent.startsWith(t)", text)

    with opened(browser) as page:
        begin(page, site.url)
        left = page.locator("[data-action=left]")
        left.focus()
        press(page, "Enter")
        told("Left is better. Next pair.")
        assert left.evaluate("node => node === document.activeElement")
        page.locator(".scrub").focus()
        press(page, "=")
        told("Both equal. Next pair.")
        assert page.locator(".scrub").evaluate("node => node === document.activeElement")
        settled(page)
        page.keyboard.press("u")
        told("Taken back: both equal. Choose again.")
        # a button that is switched off while it has the focus
        page.wait_for_selector("[data-state=pair]")
        settled(page)
        page.locator("[data-action=tie]").focus()
        site.settings.change({"allow_ties": False})
        page.wait_for_selector("[data-action=tie]", state="hidden")
        assert left.evaluate("node => node === document.activeElement")
        # and the clips, when there are no more
        for _ in range(3):
            page.wait_for_selector("[data-state=pair]")
            page.locator(".scrub").focus()
            press(page, "2")
        page.wait_for_selector("[data-state=finished]")
        told("All pairs so far are done.")
        focused = page.evaluate("document.activeElement.className")
        assert focused == "message"
        settled(page)
    assert len([e for e in labels(site.api) if e["kind"] == "answer"]) == 5


def test_nothing_moves_by_itself_where_that_is_not_wanted(site, browser):
    make_run(site.api, num_queries=2)
    (query, _) = say(site.api, "bob", ["left", "left"])
    report(site.api, (query, 0, 0.9))
    make_run(site.api, "second", num_queries=2)
    still = "[...document.querySelectorAll('video')].every(v => v.paused && v.currentTime < 0.1)"
    moving = "[...document.querySelectorAll('video')].some(v => v.currentTime > 0.1)"
    with opened(browser, reduced_motion="reduce") as page:
        begin(page, site.url, "second")
        page.wait_for_selector("[data-action=play][aria-label=Play]")
        page.wait_for_timeout(300)
        assert page.evaluate(still)
        page.keyboard.press(" ")
        until(page, moving)
        press(page, "1")
        page.wait_for_selector("[data-action=play][aria-label=Play]")
        page.wait_for_timeout(300)
        assert page.evaluate(still)
        settled(page)
        page.goto(f"{site.url}/#/results/cartpole-01")
        page.wait_for_selector(".hard-pair")
        page.locator(".hard-pair .clips").hover()
        until(page, "document.querySelectorAll('.hard-pair video').length === 2")
        page.wait_for_timeout(300)
        assert page.evaluate(still)
        page.get_by_role("button", name="Play pair 1").click()
        until(page, moving)
        assert shown(page, ".hard-pair button") == "Stop"
