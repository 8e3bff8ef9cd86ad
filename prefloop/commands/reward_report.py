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
        return "Stopped; nothing was written."


def main(settings: Settings) -> None:
    """Judges and writes."""
    from pathlib import Path

    import numpy as np

    from prefloop import checkpoints
    from prefloop.errors import UserError
    from prefloop.evaluation.reward_report import Asked, write_report
    from prefloop.files import claimed_directory
    from prefloop.rewards import reward_model
    from prefloop.training import outputs

    file = reward_model.file(Path(settings.reward))
    if not file.is_file():
        raise UserError(f"There is no reward model {file}.")
    facts = checkpoints.run_facts(file)
    said = facts.get("settings", {})
    own = _learned_from(file.parent, said)
    folder = Path(settings.preferences) if settings.preferences else own
    if folder is None:
        raise UserError(
            f"{file.parent} doesn't say which answers the reward was learned from; give --preferences."
        )
    preferences, env, made, _ = outputs.read_preferences(folder)
    model = reward_model.load(file, made)
    is_own = own is not None and own.exists() and own.samefile(folder)
    asked = Asked.of(folder, preferences, made, model, _clips(file.parent) if is_own else {})
    answered = preferences.answered
    held_out = _held_out(answered, said) if is_own else np.arange(len(answered))
    noise = float(said.get("label_noise", 0))
    with claimed_directory(Path(settings.out) if settings.out else file.parent) as out:
        summary = write_report(out, model, answered, held_out, noise, f"A reward for {env}", asked)
    print(summary)
    print(f"Wrote {out / 'report.html'}, to look at, and report.json.")


def _learned_from(run: "Path", settings: Mapping[str, Any]) -> "Path | None":
    """The answers of a run that asked, or those that it was given."""
    from pathlib import Path

    from prefloop.data import dataset
    from prefloop.training.methods import PREFERENCES

    if dataset.exists(run / PREFERENCES):
        return run / PREFERENCES
    given = settings.get("preferences")
    return Path(given) if isinstance(given, str) and given else None


def _held_out(answered: "Preferences", settings: Mapping[str, Any]) -> "NDArray":
    """Positions of those answers that the fit was judged by, and has not learned from."""
    from prefloop.rewards.training import split

    share, seed = float(settings.get("held_out", 0)), int(settings.get("seed", 0))
    return split(answered.pairs, answered.labels, share, seed)[0]


def _clips(run: "Path") -> "dict[int, Path]":
    """What `--clips_per_session` drew, by the position of the query, which their names begin with."""
    from prefloop.commands.clips import CLIPS

    named = ((path.name.partition("_")[0], path) for path in sorted((run / CLIPS).glob("*_*.mp4")))
    return {int(number): path for number, path in named if number.isdecimal()}
