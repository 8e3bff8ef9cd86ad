"""How far a reward can be trusted, on the results page."""

from accessibility import faults
from pages import NEEDS_CHROMIUM, PHONE, make_run, opened, report, say, shown, until
from trusted import TRUST

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM


def told(api, trust):
    body = {"accuracy": 0.9, "labels": 114, "trust": trust}
    assert api.put("/api/runs/cartpole-01/reward-report", json=body).status_code == 204


def test_the_results_say_how_far_to_trust_the_reward(site, browser):
    make_run(site.api, num_queries=3, clips=False, annotators_per_query=2)
    for name in ("ada", "bob"):
        (query, *_) = say(site.api, name, ["left"] * 3, seconds=2)
    report(site.api, (query, 0.5, 0.9))  # by a trainer of an earlier version
    with opened(browser) as page:
        page.goto(f"{site.url}/#/results/cartpole-01")
        page.wait_for_selector(".hard-pair")
        assert page.locator(".trust").count() == 0
        told(site.api, TRUST)
        page.wait_for_selector(".trust")
        text = shown(page, ".card:has(.trust)")
        assert "How far to trust the reward" in text
        assert "82% of 22 answers that it has not learned from (95% interval 61% to 93%), and 93%" in text  # fmt: skip
        assert "would explain 52%; this one turned round 18%" in text
        assert "50%, the luckiest of them 59%; this one, as it is, 82%" in text
        assert "do not show" not in text
        assert "up to 0.19, because answers are few. No more than chance" in text
        assert page.locator(".calibration .dot").count() == 3
        assert "0.71" in text and "0.09" in text
        bars = page.locator(".trust-inputs .bar-row").all_inner_texts()
        assert [bar.split("\n") for bar in bars] == [
            ["pole angle", "↓ 0.81"],
            ["cart position", "↕ 0.50"],
            ["pole angular velocity", "↑ 0.31"],
        ]
        assert "2 more change it less" in text
        sessions, people = (page.locator(f".trust [aria-label='{label}'] tbody th").all_inner_texts() for label in ("Over time, by when the pairs were asked about", "By who answered"))  # fmt: skip
        assert (sessions, people) == (["1", "2 to 4"], ["ada", "bob"])
        assert "prefloop reward-report cartpole-01" in text
        assert faults(page) == []
        # a constant one would do as well
        told(site.api, {**TRUST, "controls": {**TRUST["controls"], "constant": 0.7}})
        page.wait_for_selector(".not-shown")
        # and where nothing is held out, nothing is said of what is not known
        names = ("held_out_accuracy", "held_out_accuracy_low", "held_out_accuracy_high", "calibration_error", "calibration_error_by_chance", "calibration_error_by_chance_95", "rank_correlation")  # fmt: skip
        few = {**TRUST, **dict.fromkeys(names), "held_out_answers": 0, "held_out_ties": 0, "calibration": [], "inputs": []}  # fmt: skip
        told(site.api, few)
        until(page, "document.querySelector('.trust').innerText.includes('No answer is kept back yet')")  # fmt: skip
        text = shown(page, ".trust")
        assert "NaN" not in text and "null" not in text
        assert faults(page) == []


def test_it_fits_a_phone(site, browser):
    make_run(site.api, num_queries=1, clips=False)
    say(site.api, "ada", ["left"], seconds=2)
    long = {"name": "angular velocity of the hinge of the left foot about the axis y", "slope": 1, "size": 2}  # fmt: skip
    told(site.api, {**TRUST, "inputs": [long, *TRUST["inputs"]]})
    with opened(browser, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        page.goto(f"{site.url}/#/results/cartpole-01")
        page.wait_for_selector(".trust")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert faults(page) == []
