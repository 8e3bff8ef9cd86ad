"""What `prefloop study` does: a study from a file or from flags, its links, its table."""

import contextlib
import csv
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urlsplit

from pydantic import Field, ValidationError

from prefloop.errors import UserError
from prefloop.files import write_csv
from prefloop.labelling import links
from prefloop.labelling.client.calling import RefusedError
from prefloop.labelling.client.client import LabellingClient, require_study_name
from prefloop.labelling.client.forgetting import say_what_is_left
from prefloop.labelling.client.managing import agreed_to, doubted
from prefloop.labelling.limits import MAX_STUDY
from prefloop.labelling.schemas.base import RunName
from prefloop.labelling.schemas.studies import (
    MAX_LINKS,
    AboutIn,
    DoubtedOut,
    NewLinkIn,
    ParticipantOut,
    PlanIn,
    ShownIn,
    StudyIn,
    StudyOut,
)
from prefloop.words import counted
from prefloop.yaml_files import Place, read_values

# the columns of the table, for spreadsheets and for recruiting sites
COLUMNS = (
    "participant", "state", "started", "consented", "consent", "finished", "pairs", "checks", "passed", "code", "doubts",
)  # fmt: skip
DIGITS = 12  # of a text's digest, where a table is printed


class StudyFile(PlanIn):
    """What study.yaml says: how the study goes, which runs it shows, and to how many."""

    runs: list[RunName] = Field(min_length=1, max_length=20)
    examples: RunName | None = None
    practice: RunName | None = None
    checks: RunName | None = None
    participants: int | None = Field(None, ge=1, le=MAX_LINKS)
    open_link: bool = False

    @property
    def shown(self) -> ShownIn:
        """Its runs, by what they are there for."""
        others = {key: getattr(self, key) for key in ("examples", "practice", "checks")}
        return ShownIn(pairs=self.runs, **{key: [name] for key, name in others.items() if name})

    @property
    def about(self) -> AboutIn:
        """How it goes, as the server keeps it."""
        own = {name: getattr(self, name) for name in PlanIn.model_fields}
        most = self.participants if self.open_link else None
        return AboutIn(**own, most_participants=most or MAX_LINKS)


def read_study(path: str, flags: Mapping[str, Any]) -> StudyFile:
    """A study as its file and its flags say it; flags come first.

    Args:
        path: of the file; empty: there is none.

    Raises:
        UserError: the file can't be read, or says what no study is; names the line and the key.
    """
    values: dict[str, Any] = {}
    lines: dict[Place, str] = {}
    if path:
        values, lines = read_values(Path(path))
    given = {k: v for k, v in flags.items() if v is not None and v is not False and v != []}
    try:
        study = StudyFile.model_validate({**values, **given})
        study.shown  # noqa: B018 - whether its runs go together
    except ValidationError as error:
        raise UserError(_mistake(error, lines, given)) from None
    if study.open_link and study.participants is None:
        raise UserError(
            "How many people may the open link let in? Give --participants, or `participants:` in the file."
        )
    return study


def _mistake(error: ValidationError, lines: Mapping[Place, str], flags: Mapping[str, Any]) -> str:
    """The first mistake, with its line, or the flag that made it."""
    found = error.errors()
    # a key with a slip in it is told rather than the one that is missing for it
    mistake = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    place: Place = mistake["loc"]
    reason = mistake["msg"].removeprefix("Value error, ").rstrip(".")
    if mistake["type"] == "string_type" and place and place[0] not in flags:
        reason = f"it must be text: write it in quotes, since YAML takes it for {_in_yaml(mistake['input'])}"
    key = ".".join(str(part) for part in place)
    if mistake["type"] == "extra_forbidden":
        known = ", ".join(sorted(StudyFile.model_fields)) if len(place) == 1 else ""
        reason = f"there is no such key{f'; choose from {known}' if known else ''}"
    if place and place[0] in flags:
        flag = {"runs": "run"}.get(str(place[0]), place[0])
        return f"--{flag}: {reason}."
    if place == ("runs",) and mistake["type"] == "missing":
        return "Which pairs are compared? Give --run, or `runs:` in the file."
    while place and place not in lines:
        place = place[:-1]
    where = lines.get(place)
    start = f"{where}: {key}" if where and place else key or where or "study"
    return f"{start}: {reason}."


def _in_yaml(value: object) -> str:
    """What YAML takes words for that stand without quotes: Yes, No, 12, nothing."""
    return {bool: f"{value}".lower(), type(None): "nothing"}.get(type(value), f"{value!r}")


def new(client: LabellingClient, name: str, study: StudyFile, address: str, file: str) -> None:
    """Makes a study, and writes its links into a file.

    Args:
        address: of the server, as browsers call it; empty: as this program does.
        file: where the links go; empty: NAME-links.csv, and an open link is only printed.

    Raises:
        UserError: the file is there already, or the server refuses the study.
    """
    require_study_name(name)
    base = _base(client, address)
    count = 1 if study.open_link else study.participants or 1
    tokens = {ref: links.new_token() for ref in _refs(count)}
    hashes = {ref: links.digest(token) for ref, token in tokens.items()}
    people = [NewLinkIn(ref=ref, token=token) for ref, token in hashes.items()]
    body = StudyIn(
        about=study.about,
        runs=study.shown,
        links=[] if study.open_link else people,
        open_link=people[0].token if study.open_link else None,
    )
    if study.open_link:
        link = _with_parameter(links.address(base, tokens["01"]), study.id_parameter)
        with _written(Path(file), {"": link}) if file else contextlib.nullcontext():
            made = client.put_study(name, body)
        most = counted(study.about.most_participants, "participant")
        kept = f"also in {file}" if file else "not shown again"
        print(f"{name}: one link for at most {most}, {kept}:")
        print(link)
    else:
        path = Path(file or f"{name}-links.csv")
        with _written(path, _addresses(base, tokens)):
            made = client.put_study(name, body)
        print(f"{name}: {counted(count, 'link')} in {path}, each for one participant; keep the file to yourself.")  # fmt: skip
    _say_what_is_missing(client, made, study.participants or count)
    with LabellingClient(client.url) as anybody:
        if anybody.health().role == "trainer":
            print("The server demands no tokens: whoever cuts the token off their link may do everything there; start it with --tokens.")  # fmt: skip
    if not address:
        print(f"The links begin with {client.url}; --address says what browsers call the server.")
    print(f"Who has come how far: prefloop study show {name}")


def _base(client: LabellingClient, address: str) -> str:
    """What links begin with: the server as browsers call it, without a token that was given along.

    Raises:
        UserError: it is no web address.
    """
    base = urldefrag(address).url if address else client.url
    try:
        parts = urlsplit(base)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query
    except ValueError:
        known = False
    if not known:
        raise UserError(f"--address {base} is no address such as https://labels.example.org.")
    return base


def _with_parameter(link: str, parameter: str) -> str:
    """An open link with the place where a recruiting site puts its id."""
    start, _, token = link.partition("#")
    return f"{start}?{parameter}={{{{%{parameter}%}}}}#{token}" if parameter else link


def _say_what_is_missing(client: LabellingClient, study: StudyOut, people: int) -> None:
    """Where the pairs are not enough for everybody."""
    runs = [client.run(name) for name in study.runs["pairs"]]
    there = sum(run.counts.queries * run.annotators_per_query for run in runs)
    wanted = study.about["pairs"]
    asked = people * (wanted or sum(run.counts.queries for run in runs))
    if there < asked:
        print(
            f"There are {there} answers to give, and {people} participants would give {asked}: "
            "whoever comes last gets fewer pairs. More --answers_per_pair, or more pairs, help."
        )


def _refs(count: int, after: int = 0) -> list[str]:
    """Names of participants: 01, 02 and so on."""
    return [f"{number:02}" for number in range(after + 1, after + count + 1)]


def _addresses(base: str, tokens: Mapping[str, str]) -> dict[str, str]:
    """Participants' links, by what they are called."""
    return {ref: links.address(base, token) for ref, token in tokens.items()}


@contextlib.contextmanager
def _written(path: Path, addresses: Mapping[str, str]) -> Iterator[None]:
    """Writes links, which are nowhere else, before the server knows them; takes them back if it says no.

    Where it does not answer, it may have taken them all the same: then they stay.

    Raises:
        UserError: the file is there already, or can't be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["participant", "link"])
    table.writerows(addresses.items())
    try:
        # for its owner alone, from its beginning
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())
    except FileExistsError:
        raise UserError(f"{path} exists already; choose another file by --links.") from None
    except OSError as error:
        raise UserError(f"Can't write {path}: {error.strerror}.") from None
    try:
        yield
    except RefusedError:
        path.unlink()
        raise


def list_studies(client: LabellingClient) -> None:
    """Prints a line for each study."""
    found = client.studies()
    if not found:
        print("There are no studies yet. prefloop study new makes one.")
        return
    print(f"{'name':{MAX_STUDY}}  participants  started  finished  labels  made")
    for study in found:
        states = [person.state for person in study.participants]
        labels = sum(person.labels for person in study.participants)
        started = sum(person.started_at is not None for person in study.participants)
        print(
            f"{study.name:{MAX_STUDY}}  {len(states):12}  {started:7}  {states.count('finished'):8}  "
            f"{labels:6}  {study.created_at:%Y-%m-%d %H:%M}{'  closed' if study.closed else ''}"
        )


def show(client: LabellingClient, name: str, file: str) -> None:
    """Prints a study's table, or writes it.

    Raises:
        UserError: the file can't be written.
    """
    study = client.study(name)
    to_look_at = {one.ref: one for one in client.study_doubts(name)}
    rows = [_row(person, to_look_at.get(person.ref)) for person in study.participants]
    if file:
        path = Path(file)
        if not rows:
            raise UserError(f"Nobody takes part in {name} yet; there is nothing to write.")
        write_csv(path, rows)
        print(f"Wrote {path}: {counted(len(rows), 'participant')}.")
        return
    runs = "; ".join(f"{purpose}: {', '.join(names)}" for purpose, names in study.runs.items())
    state = "closed" if study.closed else "open"
    print(f"{name}: {state}, made {study.created_at:%Y-%m-%d %H:%M}; {runs}")
    if study.open_link:
        print("An open link makes participants.")
    if rows:
        shown = [{**row, "consent": row["consent"][:DIGITS]} for row in rows]
        _print_table([list(COLUMNS), *([str(row[key]) for key in COLUMNS] for row in shown)])
    else:
        print("Nobody takes part yet.")
    for one in to_look_at.values():
        print(f"look at {one.annotator}: {', '.join(map(doubted, one.doubts))}")


def _row(person: ParticipantOut, suspicious: DoubtedOut | None) -> dict[str, Any]:
    times = (person.started_at, person.consented_at, person.ended_at)
    started, consented, finished = (t.isoformat(timespec="seconds") if t else "" for t in times)
    values = (
        person.ref, person.state, started, consented, person.consent or "", finished, person.labels, person.checks,
        person.passed, person.code or "", " ".join(one.kind for one in suspicious.doubts) if suspicious else "",
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def add(client: LabellingClient, name: str, count: int, address: str, file: str) -> None:
    """Adds participants to a study, and writes their links into a file."""
    known = [person.ref for person in client.study(name).participants]
    last = max((int(ref) for ref in known if re.fullmatch(r"\d{1,6}", ref)), default=0)
    tokens = {ref: links.new_token() for ref in _refs(count, last)}
    path = Path(file or f"{name}-links-{last + 1}.csv")
    with _written(path, _addresses(_base(client, address), tokens)):
        client.add_participants(name, {ref: links.digest(t) for ref, t in tokens.items()})
    print(f"{name}: {counted(count, 'link')} more in {path}.")


def revoke(client: LabellingClient, name: str, ref: str) -> None:
    """Ends a participant's link."""
    person = client.revoke_link(name, ref)
    print(f"{ref}'s link holds no longer; {counted(person.labels, 'label')} of theirs stay, what they had open is free.")  # fmt: skip


def revoke_open_link(client: LabellingClient, name: str) -> None:
    """Ends the link that makes participants."""
    study = client.revoke_open_link(name)
    print(f"{name}: the open link makes nobody a participant any more; {counted(len(study.participants), 'participant')} of it go on.")  # fmt: skip


def renew(client: LabellingClient, name: str, ref: str, address: str) -> None:
    """Prints another link for a participant."""
    token, base = links.new_token(), _base(client, address)
    client.renew_link(name, ref, links.digest(token))
    print(f"{ref} goes on with this link alone, which is not shown again:")
    print(links.address(base, token))


def close(client: LabellingClient, name: str) -> None:
    """Ends a study."""
    study = client.close_study(name)
    print(f"{name} is closed: none of its links holds, and {' and '.join(study.runs['pairs'])} can be labelled by others again.")  # fmt: skip


def reopen(client: LabellingClient, name: str) -> None:
    """Goes on with a study."""
    client.close_study(name, False)
    print(f"{name} goes on.")


def delete(client: LabellingClient, name: str, with_answers: bool, ask: bool) -> None:
    """Deletes a study, once the user has said so.

    Raises:
        UserError: the user said no, or there is nobody to ask.
    """
    people = client.study(name).participants
    labels = counted(sum(person.labels for person in people), "label")
    links = f"with {counted(len(people), 'participant')}, their links, consents and codes"
    if ask:
        rest = (
            f"and the {labels} that they gave"
            if with_answers
            else f"but not the {labels} that they gave (--answers takes those, too)"
        )
        agreed_to(f"Delete the study {name} {links}, {rest}, for good? Type its name: ", name)
    gone = client.delete_study(name, with_answers)
    again = counted(gone.asked_again, "pair is", "pairs are")
    kept = f"their {labels} are gone, and {again} asked again"
    if not with_answers:
        kept = f"their {labels} stay in the runs under their names"
    print(f"Deleted the study {name} {links}; {kept}.")
    say_what_is_left(gone.wiped)
