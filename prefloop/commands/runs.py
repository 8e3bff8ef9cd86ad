"""`prefloop runs`: what a user may do with the labelling server's runs."""

from collections.abc import Callable
from dataclasses import MISSING, dataclass
from functools import partial

from prefloop.commands.actions import require_action, require_words
from prefloop.labelling.client.settings import ServerSettings
from prefloop.settings import part, setting

DESCRIPTION = """Lists the labelling server's runs and what stands in them, takes labels out as a
preference dataset and in again, renames a run, sets what labelling.yaml says of clips and queue for
this run alone, puts it away and brings it back, leaves an annotator's labels out of
training and agreement and takes them in again, deletes all that is stored of one person in every run, deletes it with its labels, or has everything in it
labelled again. On the server's own machine, copies a whole store to another database, or a server's folder while it
runs."""
EPILOG = """Example: prefloop runs list; prefloop runs show cartpole-01; prefloop runs export
cartpole-01 prefs (then prefloop dpo --preferences prefs ...); prefloop runs import prefs cartpole-02;
prefloop runs rename cartpole-01 pilot; prefloop runs set pilot playback_speed 0.5 (default: as
labelling.yaml says); prefloop runs archive pilot; prefloop runs bring-back pilot; prefloop runs
exclude pilot bob; prefloop runs include pilot bob; prefloop runs
forget bob; prefloop runs export pilot prefs-without-names --pseudonyms; prefloop runs label-again pilot; prefloop runs delete pilot; prefloop runs
backup labels-monday; prefloop runs copy --from sqlite:////home/me/.prefloop/default/labels.sqlite3 --to
postgresql://me@host/labels. docs/labelling.md says what a copy and a backup hold, and how they are used."""
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
    "forget": ("ANNOTATOR",),
    "delete": ("NAME",),
    "label-again": ("NAME",),
    "copy": (),
    "backup": ("FOLDER",),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is to be done with which run.

    Raises:
        ValueError: more or fewer words than the action takes.
    """

    # fmt: off
    action: str = setting(MISSING, f"what to do: {', '.join(ACTIONS)}", choices=tuple(ACTIONS), positional=True)
    words: tuple[str, ...] = setting((), "the run's name, and what else the action takes: export NAME FOLDER, import FOLDER NAME, rename NAME NEW-NAME, set NAME KEY VALUE, exclude and include NAME ANNOTATOR, forget ANNOTATOR, backup FOLDER", positional=True)
    yes: bool = setting(False, "delete, or forget, without asking")
    pseudonyms: bool = setting(False, "export: others stand in place of annotators' names, the same in every export of the server")
    source: str = setting("", "copy: the database that is copied, as of prefloop label --database_url", flag="from")
    target: str = setting("", "copy: the database that it is copied to, which must be empty", flag="to")
    home: str = setting("", "backup: the server's folder, where it is none of a profile")
    database_url: str = setting("", "backup: where the server keeps labels; if not given, PREFLOOP_DATABASE_URL, or else its folder")
    server: ServerSettings = part(ServerSettings)
    # fmt: on

    def __post_init__(self) -> None:
        require_words(self.action, self.words, ACTIONS[self.action])
        if (self.action == "copy") != bool(self.source and self.target) or (
            self.action != "copy" and (self.source or self.target)
        ):
            raise ValueError("copy takes --from and --to, and nothing else does")
        require_action(self, {"pseudonyms": ("export",)})
        if self.action != "backup" and (self.home or self.database_url):
            raise ValueError(f"{self.action} has no --home and no --database_url; backup has")
        if self.action in ("copy", "backup") and self.server.server:
            raise ValueError(f"{self.action} asks no --server; it runs on the server's own machine")

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        return "Stopped."


def main(settings: Settings) -> None:
    """Does it."""
    if settings.action in ("copy", "backup"):
        _do_beside(settings)
        return
    from prefloop.labelling.client.connecting import connected

    with connected(settings.server) as client:
        from prefloop.labelling.client import forgetting, importing, managing

        do: dict[str, Callable[..., None]] = {
            "list": managing.list_runs,
            "show": managing.show,
            "export": partial(importing.export_to_folder, pseudonyms=settings.pseudonyms),
            "import": importing.import_from_folder,
            "rename": managing.rename,
            "set": managing.set_own,
            "archive": managing.archive,
            "bring-back": managing.bring_back,
            "exclude": managing.exclude,
            "include": managing.include,
            "forget": partial(forgetting.forget, ask=not settings.yes),
            "delete": partial(managing.delete, ask=not settings.yes),
            "label-again": managing.label_again,
        }
        do[settings.action](client, *settings.words)


def _do_beside(settings: Settings) -> None:
    """Copies or backs up a server's database and folder themselves, without asking the server."""
    import os
    from pathlib import Path

    from prefloop.errors import UserError, note
    from prefloop.labelling.home import home_directory

    try:
        from prefloop.labelling.server import backup
        from prefloop.labelling.server.storage.copying import copy_store
        from prefloop.labelling.server.storage.database import shown_address
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed; it comes with pip install 'prefloop[labelling]'."
        ) from None
    if settings.action == "copy":
        tables = copy_store(settings.source, settings.target)
    else:
        (folder,) = settings.words
        home = home_directory(settings.server.profile, settings.home)
        url = settings.database_url or os.environ.get("PREFLOOP_DATABASE_URL", "")
        made = backup.back_up(home, Path(folder), url)
        tables = made.tables
    width = max(len(one.table) for one in tables)
    print(f"{'table':{width}}      rows  SHA-256 of both, as read again")
    for one in tables:
        print(f"{one.table:{width}}  {one.rows:8,}  {one.digest[:16]}")
    if settings.action == "copy":
        print(f"Copied to {shown_address(settings.target)}: each table is the same in both.")
        print("Labels that a server stores in the first one from now on are not in the copy.")
        print(
            "Clips are files in the server's folder: start it there, with --database_url, or copy the "
            "folder's clips/ to the new one."
        )
        return
    if made.gone:
        note(f"{made.gone} clips that were sent are not there any more.")
    print(f"Backed up {home} to {folder}, with {made.clips} clips that were sent.")
    print(f"To use it: prefloop label --home {folder}, or a copy of it.")
