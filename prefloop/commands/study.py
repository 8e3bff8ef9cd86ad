"""`prefloop study`: people who are recruited, each with a link of their own."""

from collections.abc import Callable
from dataclasses import MISSING, dataclass
from functools import partial

from prefloop.commands.actions import require_action, require_words
from prefloop.labelling.client.settings import ServerSettings
from prefloop.settings import part, setting

DESCRIPTION = """Makes a study of runs of the labelling server: each participant has a link, which leads them
through welcome, consent, instructions, practice and questions to their pairs, and gives them a code at the
end. Shows who has come how far; ends links, renews them, and adds more; deletes what is stored of one
participant, or the study."""
EPILOG = """Example: prefloop study new pilot --run cartpole-01 --participants 20 --pairs 40 --answers_per_pair 4;
prefloop study new main --file study.yaml --address https://labels.example.org; prefloop study list; prefloop study show
pilot --csv pilot.csv; prefloop study add pilot --participants 5; prefloop study revoke pilot 07; prefloop
study renew pilot 07; prefloop study revoke pilot --open_link; prefloop study forget pilot 07;
prefloop study close pilot; prefloop study reopen pilot; prefloop study delete pilot --answers. docs/study.md says what study.yaml holds."""
IMPORTS = ()

# what is to be done, and what must be named for it
ACTIONS = {
    "new": ("NAME",),
    "list": (),
    "show": ("NAME",),
    "add": ("NAME",),
    "revoke": ("NAME", "PARTICIPANT"),
    "renew": ("NAME", "PARTICIPANT"),
    "forget": ("NAME", "PARTICIPANT"),
    "close": ("NAME",),
    "reopen": ("NAME",),
    "delete": ("NAME",),
}
OF_NEW = ("run", "file", "pairs", "block", "answers_per_pair")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is to be done with which study.

    Raises:
        ValueError: more or fewer words than the action takes, or flags that it does not.
    """

    # fmt: off
    action: str = setting(MISSING, f"what to do: {', '.join(ACTIONS)}", choices=tuple(ACTIONS), positional=True)
    words: tuple[str, ...] = setting((), "the study's name, and with revoke, renew and forget what the participant is called in its table", positional=True)
    run: tuple[str, ...] = setting((), "of new: the runs whose pairs are compared")
    file: str = setting("", "of new: how the study goes, as YAML (docs/study.md); flags come before what it says")
    participants: int | None = setting(None, "of new and add: how many links to write; with --open_link: how many people it lets in")
    open_link: bool = setting(False, "of new: one link that makes a participant of whoever opens it, in place of one for each; of revoke: that link")
    pairs: int | None = setting(None, "of new: pairs that one participant compares; if not given, all")
    block: int | None = setting(None, "of new: pairs between two pauses; if not given, there are none")
    answers_per_pair: int | None = setting(None, "of new: participants who compare each pair; if not given, as the runs say")
    address: str = setting("", "of new, add and renew: what browsers call the server, for the links")
    links: str = setting("", "of new and add: the file that links are written to; if not given, NAME-links.csv, of add NAME-links-21.csv and so on, by the first of them, and with --open_link none")
    csv: str = setting("", "of show: write the table into this file")
    answers: bool = setting(False, "of delete: its participants' answers, too; if not given, they stay in the runs under their names")
    yes: bool = setting(False, "of forget and delete: without asking")
    server: ServerSettings = part(ServerSettings)
    # fmt: on

    def __post_init__(self) -> None:
        of_the_link = self.action == "revoke" and self.open_link
        require_words(self.action, self.words, ("NAME",) if of_the_link else ACTIONS[self.action])
        takers = {
            **dict.fromkeys(OF_NEW, ("new",)),
            "participants": ("new", "add"),
            "open_link": ("new", "revoke"),
            "address": ("new", "add", "renew"),
            "links": ("new", "add"),
            "csv": ("show",),
            "answers": ("delete",),
            "yes": ("forget", "delete"),
        }
        require_action(self, takers)
        if self.action == "add" and self.participants is None:
            raise ValueError("add needs --participants")
        if self.participants is not None and not 1 <= self.participants <= 2000:
            raise ValueError(f"--participants must be between 1 and 2000, not {self.participants}")

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        return "Stopped."


def main(settings: Settings) -> None:
    """Does it."""
    from prefloop.labelling.client.connecting import connected

    with connected(settings.server) as client:
        from prefloop.labelling.client import forgetting, studies

        address, file = settings.address, settings.links
        do: dict[str, Callable[..., None]] = {
            "list": studies.list_studies,
            "show": partial(studies.show, file=settings.csv),
            "add": partial(
                studies.add, count=settings.participants or 1, address=address, file=file
            ),
            "revoke": studies.revoke_open_link if settings.open_link else studies.revoke,
            "renew": partial(studies.renew, address=address),
            "forget": partial(forgetting.forget_participant, ask=not settings.yes),
            "close": studies.close,
            "reopen": studies.reopen,
            "delete": partial(studies.delete, with_answers=settings.answers, ask=not settings.yes),
        }
        if settings.action == "new":
            flags = {
                "runs": list(settings.run),
                "participants": settings.participants,
                "open_link": settings.open_link,
                "pairs": settings.pairs,
                "block": settings.block,
                "answers_per_pair": settings.answers_per_pair,
            }
            study = studies.read_study(settings.file, flags)
            do["new"] = partial(studies.new, study=study, address=address, file=file)
        do[settings.action](client, *settings.words)
