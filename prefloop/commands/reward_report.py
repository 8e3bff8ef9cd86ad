"""`prefloop reward-report`: how far a learned reward can be trusted, as a page that opens from disk."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import TYPE_CHECKING, Any

from prefloop.settings import setting

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from prefloop.data.preferences import Preferences

DESCRIPTION = """Says how far a learned reward can be trusted: how many answers it predicts that it has not learned
from, with what confidence, whether a reward that learned nothing would do as well, what it looks at, for whom and
when it is right, and the answers that it explains worst, step by step and with the clips that were drawn of them."""
EPILOG = """Example: prefloop reward-report hopper. The folder is of prefloop reward, pref-ppo or pebble; written are
report.html, which opens without a server, and report.json beside it. By answers that it has never seen, say of
somebody else: prefloop reward-report hopper --preferences theirs --out theirs-report.
Details: docs/reward_model.md."""
IMPORTS = ("torch", "gymnasium", "matplotlib.figure")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is reported on, and by which answers."""

    # fmt: off
    reward: str = setting(MISSING, "folder of the run that learned the reward, or its reward.params", positional=True)
    preferences: str = setting("", "folder of a preference dataset that it is judged by; if not given, what it was learned from")
    out: str = setting("", "folder that report.html and report.json are written to; made if missing; if not given, that of the reward")
    # fmt: on

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        return "Stopped; an earlier report is whole."


def main(settings: Settings) -> None:
    """Judges and writes."""
    from dataclasses import replace
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from prefloop import checkpoints
    from prefloop.commands.report_clips import ReportClips
    from prefloop.errors import UserError
    from prefloop.evaluation.judgement import AnswerFacts, judge
    from prefloop.evaluation.reward_report import write_report
    from prefloop.files import claimed_directory
    from prefloop.rewards import reward_model
    from prefloop.training import outputs

    file = reward_model.file(Path(settings.reward))
    if not file.is_file():
        raise UserError(f"There is no reward model {file}.")
    run, facts = file.parent, checkpoints.run_facts(file)
    folder = Path(settings.preferences) if settings.preferences else _learned_from(run, facts)
    preferences, env, made, _ = outputs.read_preferences(folder)
    model, answered = reward_model.load(file, made), preferences.answered
    is_own = _is_own(folder, run, facts)
    known = AnswerFacts.of(folder, preferences, made, model, _clips(run) if is_own else {})
    learned = facts.get("annotators", {})
    known = replace(known, errors={name: said["error"] for name, said in learned.items()})
    unseen = _unseen(answered, answered if is_own else _own_answers(run, facts), facts)
    noise = float(facts.get("settings", {}).get("label_noise", 0))
    with (
        claimed_directory(Path(settings.out) if settings.out else run) as out,
        TemporaryDirectory() as drawn,
    ):
        if known.of_people:
            known = replace(known, draw=ReportClips(folder, answered, env, Path(drawn)))
        judgement = judge(model, answered, unseen, noise, known)
        summary = write_report(out, judgement, f"A reward for {env}")
    print(summary)
    print(f"Wrote {out / 'report.html'}, to look at, and report.json.")


def _named(run: "Path", facts: Mapping[str, Any]) -> "Path | None":
    """Where the answers of a run are that asked, or where those were that it was given."""
    from pathlib import Path

    from prefloop.data import dataset
    from prefloop.run_files import PREFERENCES

    if dataset.exists(run / PREFERENCES):
        return run / PREFERENCES
    given = facts.get("settings", {}).get("preferences")
    return Path(given) if isinstance(given, str) and given else None


def _is_own(folder: "Path", run: "Path", facts: Mapping[str, Any]) -> bool:
    """Whether a dataset is what the reward was learned from, wherever it stands now."""
    from prefloop.data import dataset
    from prefloop.files import sha256
    from prefloop.run_files import PREFERENCES

    asked = run / PREFERENCES
    if asked.exists() and folder.exists() and asked.samefile(folder):
        return True
    lines, digest = folder / dataset.PREFERENCES, facts.get("preferences_sha256")
    return digest is not None and lines.is_file() and sha256(lines) == digest


def _learned_from(run: "Path", facts: Mapping[str, Any]) -> "Path":
    """The folder of the answers that a reward was learned from.

    Raises:
        UserError: nothing says where they are, they are no longer there, or not as they were.
    """
    from prefloop.errors import UserError

    folder = _named(run, facts)
    if folder is None:
        raise UserError(
            f"{run} doesn't say which answers the reward was learned from; give --preferences."
        )
    if not folder.exists():
        raise UserError(
            f"The answers that {run} was learned from are not in {folder}; say where by --preferences."
        )
    if not _is_own(folder, run, facts):
        raise UserError(
            f"{folder} holds other answers than {run} was learned from; --preferences {folder} judges by "
            "them as by those of somebody else."
        )
    return folder


def _own_answers(run: "Path", facts: Mapping[str, Any]) -> "Preferences | None":
    """What the reward was learned from, as far as it is still there."""
    from prefloop.data import dataset

    folder = _named(run, facts)
    there = folder is not None and dataset.exists(folder) and _is_own(folder, run, facts)
    return dataset.read(folder).answered if there and folder is not None else None


def _unseen(
    answered: "Preferences", own: "Preferences | None", facts: Mapping[str, Any]
) -> "NDArray":
    """Positions of the answers to pairs that the reward has not learned from."""
    import numpy as np

    from prefloop.rewards.training import split

    if own is None:
        return np.arange(len(answered))
    settings = facts.get("settings", {})
    share, seed = float(settings.get("held_out", 0)), int(settings.get("seed", 0))
    pairs = own.pairs
    seen = {pairs[i] for i in split(pairs, own.labels, share, seed)[1]}
    return np.flatnonzero([pair not in seen for pair in answered.pairs])


def _clips(run: "Path") -> "dict[int, Path]":
    """What `--clips_per_session` drew, by the position of the query, which their names begin with."""
    from prefloop.training.outputs import CLIPS

    named = ((path.name.partition("_")[0], path) for path in sorted((run / CLIPS).glob("*_*.mp4")))
    return {int(number): path for number, path in named if number.isdecimal()}
