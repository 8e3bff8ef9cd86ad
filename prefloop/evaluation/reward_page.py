"""The page of a reward report: one file that opens without a server."""

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prefloop.evaluation.markup import inline_json, table_of, whole_page
from prefloop.files import encodable, write_atomically

STATIC = Path(__file__).with_name("static")
MOST_INPUTS = 20  # that are shown: the rest changes the reward less
# what stands in report.json under these names
FIGURES = {
    "answers": "answers",
    "ties": "of them ties, which no accuracy counts",
    "held_out_answers": "answers that it has not learned from",
    "held_out_ties": "of them ties",
    "held_out_accuracy": "share of these that it predicts",
    "training_accuracy": "share of those that it has learned from",
    "held_out_loss": "cross-entropy of answers that it has not learned from; 0.693 is a toss",
    "training_loss": "of those that it has learned from",
    "calibration_error": "how far predicted probabilities lie from answers",
    "calibration_error_by_chance": "what a model that is right would have, because answers are few",
    "calibration_error_by_chance_95": "and stay below 95 times in 100",
    "rank_correlation": "Spearman's, of predicted and true returns of all segments",
    "disagreement": "deviation of the members' probabilities",
}


def write_page(
    path: Path,
    title: str,
    about: Mapping[str, Any],
    calibration: Sequence[tuple[float, float, int]],
    returns: tuple[NDArray, NDArray],
    disagreement: NDArray,
    pairs: Sequence[Mapping[str, Any]],
    why_not_drawn: str = "",
) -> None:
    """Writes the page.

    Args:
        title: what it is a reward for.
        about: all figures, as report.json has them.
        calibration: predicted and observed share and number of answers of each bin.
        returns: true and predicted, of the segments; [segments] both.
        disagreement: deviation of the members' probabilities; [answers].
        pairs: what is shown of the hardest answers.
        why_not_drawn: a sentence, where clips of them are missing.
    """
    trusted = "how far this reward can be trusted"
    pictures = _pictures(calibration, returns, disagreement, about)
    missing = f"\n<p>{html.escape(why_not_drawn)}</p>" if why_not_drawn else ""
    figures = [
        {"figure": name.replace("_", " "), "value": _shown(about[name]), "": text}
        for name, text in FIGURES.items()
    ]
    body = f"""<h1>{html.escape(title)} <small>{trusted}</small></h1>
{"".join(f"<p>{sentence}</p>" for sentence in _in_words(about))}
<section>{pictures}</section>
{_inputs(about["inputs"])}
{_groups("By who answered", "who", about["by_answerer"])}
{_groups("By iteration", "iteration", about["by_iteration"])}
<h2>The answers that it explains worst</h2>
<p>Close true returns: nothing to worry about. Far apart: a mistaken answer, or a flaw of the reward. Move the
cursor, or click on a curve: everything of the pair goes there. Curves are the reward of each step as an
agent sees it, with what the members of the ensemble say, and the true reward.</p>{missing}
<div id="pairs"></div>
<noscript><p>The curves need JavaScript.</p></noscript>
<h2>All figures</h2>
{table_of(figures)}
<script type="application/json" id="data">{inline_json(pairs)}</script>"""
    names = ("reward_report.css", "reward_report.js")
    style, script = ((STATIC / name).read_text(encoding="utf-8") for name in names)
    page = whole_page(f"{title}: {trusted}", body, style, script)
    write_atomically(path, encodable(page).encode())


def _in_words(about: Mapping[str, Any]) -> list[str]:
    """Sentences with what a reader should take away first, as HTML."""
    controls = about["controls"]
    accuracy, low, high = (about[f"held_out_accuracy{end}"] for end in ("", "_low", "_high"))
    others = (
        f"On the same answers a constant reward is right in {_percent(controls['constant'])} of the cases, the "
        f"learned one with its sign turned in {_percent(controls['flipped'])}, networks that were shown no answer in "
        f"{_percent(controls['untrained_mean'])}, the luckiest in {_percent(controls['untrained_highest'])}."
    )
    learned = about["training_accuracy"]
    if math.isnan(accuracy):
        why = (
            "All answers that were held out are ties"
            if about["held_out_answers"]
            else "No answer was held out"
        )
        sentences = [f"<strong>{why}, so nothing says how it does on new ones.</strong>"]
        if not math.isnan(learned):
            sentences[0] += f" It explains {_percent(learned)} of those that it has learned from."
        return sentences if math.isnan(controls["constant"]) else [*sentences, others]
    best = max(controls["constant"], controls["flipped"], controls["untrained_highest"])
    decided = about["held_out_answers"] - about["held_out_ties"]
    sentences = [
        f"It predicts <strong>{_percent(accuracy)}</strong> of {decided} decided answers that it has not "
        f"learned from (95 % interval {_percent(low)} to {_percent(high)})"
        + ("." if math.isnan(learned) else f", and {_percent(learned)} of those that it has."),
        others,
    ]
    if low <= best:
        sentences.append(
            "<strong>So these answers do not show that it knows more than a reward that learned nothing.</strong> "
            "More answers may."
        )
    sentences.append(
        "High figures do not prove a good reward: a policy goes where no segment was. In the end what the policy "
        "does counts."
    )
    return sentences


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _pictures(
    calibration: Sequence[tuple[float, float, int]],
    returns: tuple[NDArray, NDArray],
    disagreement: NDArray,
    about: Mapping[str, Any],
) -> str:
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.plot([0, 1], [0, 1], color="gray", linestyle=":")
    total = sum(size for *_, size in calibration)
    for predicted, observed, size in calibration:
        left.scatter(predicted, observed, s=20 + 300 * size / total, color="C0", alpha=0.7)
    left.set_xlabel("predicted: an answer prefers the second")
    left.set_ylabel("answers that prefer the second")
    left.set_title(
        "Calibration, held-out answers" if about["held_out_answers"] else "Calibration, all answers"
    )
    middle.scatter(*returns, s=8, alpha=0.5)
    middle.set_xlabel("true return of a segment")
    middle.set_ylabel("predicted return")
    middle.set_title(f"Rank correlation {about['rank_correlation']:.2f}")
    right.hist(disagreement, bins=20)
    right.set_xlabel("standard deviation of the members' predictions")
    right.set_ylabel("answers")
    right.set_title("Disagreement of the members")
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "prefloop"}):  # the same figure, the same bytes
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    source = f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return f'<img alt="calibration, returns of segments, disagreement" src="{source}">'


def _inputs(inputs: Sequence[Mapping[str, Any]]) -> str:
    """Bars of what the reward is most sensitive to."""
    if not inputs:
        return ""
    most = max(row["size"] for row in inputs) or 1.0
    bars = [
        f"<tr><th>{html.escape(row['name'])}</th><td class='bar'>"
        f"<i style='width: {100 * row['size'] / most:.1f}%' class='{_direction(row)}'></i></td>"
        f"<td>{row['size']:.2f}</td><td>{row['slope']:+.2f}</td></tr>"
        for row in inputs[:MOST_INPUTS]
    ]
    left = len(inputs) - len(bars)
    more = f" {left} more change it less; they are in report.json." if left > 0 else ""
    return (
        "<h2>What it looks at</h2><p>How much the reward changes with each number that it is computed from, per "
        "standard deviation of that number, on average over the steps that were compared: by size, and with its "
        f"sign. Filled: more is nearly always better; hatched: nearly always worse; pale: it depends.{more}</p>"
        "<div class='wide'><table class='bars'><thead><tr><th>input</th><th></th><th>size</th><th>slope</th></tr></thead>"
        f"<tbody>{''.join(bars)}</tbody></table></div>"
    )


def _direction(row: Mapping[str, Any]) -> str:
    if abs(row["slope"]) < 0.5 * row["size"]:
        return "mixed"
    return "more" if row["slope"] > 0 else "less"


def _groups(heading: str, name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of accuracies; nothing where there is one group alone, of which all else speaks.

    With what was learned of their errors, where that is known.
    """
    has_errors = any("error" in row for row in rows)
    if len(rows) < 2 and not has_errors:
        return ""
    lines = [
        {
            name: str(row["name"]),
            "answers": str(row["answers"]),
            "it explains": _shown(row["accuracy"]),
            "not learned from, without ties": str(row["held_out_answers"] - row["held_out_ties"]),
            "of these it predicts": _shown(row["held_out_accuracy"], row["low"], row["high"]),
        }
        | ({"errors": _rate(row["error"])} if has_errors else {})
        for row in rows
    ]
    if not has_errors:
        return f"<h2>{heading}</h2>{table_of(lines)}"
    about = (
        "<p>Errors: the share of their answers that was learned to be wrong. 0.5 is a coin's, and such answers "
        "counted for next to nothing in the fit.</p>"
    )
    return f"<h2>{heading}</h2>{about}{table_of(lines)}"


def _rate(error: float) -> str:
    """An error rate, which is not known to more than two digits."""
    return "-" if math.isnan(error) else f"{error:.2f}"


def _shown(value: float, low: float = math.nan, high: float = math.nan) -> str:
    if isinstance(value, float) and math.isnan(value):
        return "-"
    interval = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    return f"{value}{interval}" if isinstance(value, int) else f"{value:.4g}{interval}"
