"""`prefloop runs`: what a user may do with the labelling server's runs."""

from collections.abc import Callable
from dataclasses import MISSING, dataclass
from functools import partial

from prefloop.labelling.client.settings import ServerSettings
from prefloop.settings import part, setting

DESCRIPTION = """Lists the labelling server's runs and what stands in them, takes labels out as a
preference dataset and in again, renames a run, sets what labelling.yaml says of clips and queue for
this run alone, puts it away and brings it back, leaves an annotator's labels out of
training and agreement and takes them in again, deletes it with its labels, or has everything in it
labelled again."""
EPILOG = """Example: prefloop runs list; prefloop runs show cartpole-01; prefloop runs export
cartpole-01 prefs (then prefloop dpo --preferences prefs ...); prefloop runs import prefs cartpole-02;
prefloop runs rename cartpole-01 pilot; prefloop runs set pilot playback_speed 0.5 (default: as
labelling.yaml says); prefloop runs archive pilot; prefloop runs bring-back pilot; prefloop runs
exclude pilot bob; prefloop runs include pilot bob; prefloop runs label-again pilot; prefloop runs delete pilot."""
IMPORTS = ()

# what is to be done, and what must be named for it
ACTIONS = {
    "list": (),
    "show": ("NAME",),
    "export": ("NAME", "FOLDER"),
    "import": ("FOLDER", "NAME"),
    "rename": ("NAME", "NEW-NAME"),
    "set": ("NAME", "KEY", "VALUE"),
    "archive": ("NAME",),
    "bring-back": ("NAME",),
    "exclude": ("NAME", "ANNOTATOR"),
    "include": ("NAME", "ANNOTATOR"),
    "delete": ("NAME",),
    "label-again": ("NAME",),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is to be done with which run.

    Raises:
        ValueError: more or fewer words than the action takes.
    """

    # fmt: off
    action: str = setting(MISSING, f"what to do: {', '.join(ACTIONS)}", choices=tuple(ACTIONS), positional=True)
    words: tuple[str, ...] = setting((), "the run's name, and what else the action takes: export NAME FOLDER, import FOLDER NAME, rename NAME NEW-NAME, set NAME KEY VALUE, exclude and include NAME ANNOTATOR", positional=True)
    yes: bool = setting(False, "delete without asking")
    server: ServerSettings = part(ServerSettings)
    # fmt: on

    def __post_init__(self) -> None:
        wanted = ACTIONS[self.action]
        if len(self.words) != len(wanted):
            raise ValueError(
                f"{self.action} takes {' and '.join(wanted) or 'nothing'} after it, not "
                f"{' '.join(self.words) or 'nothing'}"
            )

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        return "Stopped."


def main(settings: Settings) -> None:
    """Does it."""
    from prefloop.labelling.client.connecting import connected

    with connected(settings.server) as client:
        from prefloop.labelling.client import managing

        do: dict[str, Callable[..., None]] = {
            "list": managing.list_runs,
            "show": managing.show,
            "export": managing.export_to_folder,
            "import": managing.import_from_folder,
            "rename": managing.rename,
            "set": managing.set_own,
            "archive": managing.archive,
            "bring-back": managing.bring_back,
            "exclude": managing.exclude,
            "include": managing.include,
            "delete": partial(managing.delete, ask=not settings.yes),
            "label-again": managing.label_again,
        }
        do[settings.action](client, *settings.words)
