"""What `prefloop runs` does: a run's labels, its name, its settings, its end."""

import contextlib
import io
import json
import math
import shlex
import zipfile
from pathlib import Path

from prefloop.data import dataset
from prefloop.errors import UserError
from prefloop.files import write_atomically
from prefloop.labelling.client.calling import RefusedError
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.schemas.results import DoubtOut
from prefloop.labelling.schemas.runs import RunOut
from prefloop.words import counted

DEFAULT = "default"  # what stands for a value that labelling.yaml says


def list_runs(client: LabellingClient) -> None:
    """Prints a line for each run, those that are archived last."""
    runs = client.runs()
    if not runs:
        print("There are no runs yet. prefloop collect makes one.")
        return
    width = max(4, *(len(run.name) for run in runs))
    print(f"{'name':{width}}  {'env':20}  queries  answered  skipped  left  made")
    for run in sorted(runs, key=lambda run: run.archived):
        counts = run.counts
        print(
            f"{run.name:{width}}  {run.env:20}  {counts.queries:7}  {counts.answered:8}  "
            f"{counts.skipped:7}  {counts.left:4}  {run.created_at:%Y-%m-%d %H:%M}"
            f"{'  ' if _state(run) else ''}{_state(run)}"
        )


def _state(run: RunOut) -> str:
    """What is to be known of a run beside its numbers; empty if nothing is."""
    if run.archived:
        return "archived"
    if run.training is None:
        return ""
    phase = "paused" if run.training.paused else run.training.phase
    return f"{phase}, step {run.training.steps:,}"


def show(client: LabellingClient, name: str) -> None:
    """Prints what is known of a run."""
    run, results = client.run(name), client.results(name)
    counts = run.counts
    lines = [
        f"{run.name}: {run.env}, made {run.created_at:%Y-%m-%d %H:%M}, round {run.round}",
        f"{counted(counts.queries, 'query', 'queries')}: {counts.answered} answered, "
        f"{counts.skipped} skipped, {counts.left} left; {counted(counts.labels, 'label')} of "
        f"{counted(counts.annotators, 'annotator')}",
        f"{counted(run.annotators_per_query, 'annotator')} a query, {run.repeats:.0%} repeats",
    ]
    if results.agreement.share is not None:
        lines.append(
            f"annotators agree in {results.agreement.share:.0%} of "
            f"{counted(results.agreement.n, 'pair')}"
        )
    if results.alpha.value is not None:
        lines.append(
            f"Krippendorff's alpha {results.alpha.value:.2f} (1: all agree, 0: as by chance)"
        )
    if results.consistency.share is not None:
        lines.append(
            f"repeats agree in {results.consistency.share:.0%} of "
            f"{counted(results.consistency.n, 'case')}"
        )
    if results.seconds.median is not None:
        lines.append(f"median {results.seconds.median:.1f} s a label")
    if results.reward is not None:
        lines.append(
            f"the reward model agrees with {results.reward.accuracy:.0%} of "
            f"{counted(results.reward.labels, 'label')}, from most of which it has learned"
        )
    lines += [
        f"look at {one.annotator}: {doubted(d)}" for one in results.annotators for d in one.doubts
    ]
    left_out = [one.annotator for one in results.annotators if one.excluded]
    if left_out:
        lines.append(f"left out: {', '.join(left_out)}")
    lines += [f"{key}: {value:g}, for this run alone" for key, value in run.own_settings.items()]
    if _state(run):
        lines.append(f"{_state(run)}")
    if run.arena:
        lines.append(f"an arena: prefloop arena --name {run.name} ranks what it compares")
    if run.instructions:
        lines.append(f"instructions: {run.instructions}")
    print("\n".join(lines))


def doubted(doubt: DoubtOut) -> str:
    """Why an annotator is doubted, in words."""
    how_often = f"{doubt.count} of {doubt.n}"
    if doubt.kind == "one-side":
        return f"preferred the clip on the {doubt.side} in {how_often} answers"
    if doubt.kind == "hasty":
        return f"{how_often} labels took less than half a second"
    if doubt.kind == "apart":
        usual = "" if doubt.usual is None else f", where the median is {doubt.usual:.0%}"
        return f"said what is clear of only {how_often} clear pairs{usual}"
    return f"agreed with themselves in only {how_often} repeats"


def write_export(client: LabellingClient, name: str, path: Path, pseudonyms: bool = False) -> None:
    """Writes a run's labels as a preference dataset, in place of an earlier export.

    Args:
        pseudonyms: nobody is named in it.

    Raises:
        UserError: there are no labels yet, the folder can't be written, or the server is of a version
            that knows no pseudonyms.
    """
    archive = zipfile.ZipFile(io.BytesIO(client.export(name, pseudonyms)))
    if pseudonyms and not json.loads(archive.read(dataset.METADATA)).get("pseudonyms"):
        raise UserError(
            f"The server {client.url} is of an earlier version, which names everybody; nothing was written."
        )
    # what others name comes first and what names them last, as a writer of a dataset does
    last = (dataset.PREFERENCES, dataset.METADATA)
    members = [*(set(archive.namelist()) - set(last)), *last]
    try:
        path.mkdir(parents=True, exist_ok=True)
        for member in members:
            write_atomically(path / Path(member).name, archive.read(member))
    except OSError as error:
        raise UserError(f"Can't write {path}: {error.strerror}.") from None


def rename(client: LabellingClient, name: str, new_name: str) -> None:
    """Gives a run another name."""
    if name == new_name:
        raise UserError(f"{name} is its name already.")
    client.rename(name, new_name)
    print(f"{name} is now {new_name}.")
    trained = None
    with contextlib.suppress(RefusedError):  # by a server of an earlier version
        trained = client.training(new_name)
    if trained is not None:
        print(
            f"Whoever trains on it goes on with --run {new_name} --out {name} (the folder of its old name, unless "
            "another was given); without --out it begins from nothing."
        )


def archive(client: LabellingClient, name: str) -> None:
    """Puts a run away."""
    client.archive(name)
    print(f"{name} is archived: nobody is asked about it until prefloop runs bring-back {name}.")


def bring_back(client: LabellingClient, name: str) -> None:
    """Takes a run out of the archive."""
    client.archive(name, False)
    print(f"{name} is offered to annotators again.")


def exclude(client: LabellingClient, name: str, annotator: str) -> None:
    """Leaves somebody's labels out of training and agreement."""
    client.exclude(name, annotator)
    left = client.run(name).counts.left
    print(
        f"{name}: nothing is learned from {annotator}'s labels, until prefloop runs include {name} {shlex.quote(annotator)}."
    )
    if left:
        print(
            f"Others are asked in their place: {counted(left, 'pair wants', 'pairs want')} answers."
        )


def include(client: LabellingClient, name: str, annotator: str) -> None:
    """Takes somebody's labels in again."""
    client.exclude(name, annotator, False)
    print(f"{name}: {annotator}'s labels count again.")


def set_own(client: LabellingClient, name: str, key: str, value: str) -> None:
    """Sets a key of labelling.yaml for one run.

    Raises:
        UserError: there is no such key, or the value is no number; what the server refuses, too.
    """
    everywhere = client.run_settings(name).everywhere
    if key not in everywhere:
        raise UserError(f"{key} can't be set for one run; choose from {', '.join(everywhere)}.")
    new = None if value == DEFAULT else _number(key, value)
    holds = client.set_own(name, {key: new}).values[key]
    said = "the environment's own" if holds is None else f"{holds:g}"
    print(f"{name}: {key} is {said}{', as labelling.yaml says' if new is None else ''}.")


def _number(key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{key} must be a number or {DEFAULT}, not {value}.")
    return int(number) if number.is_integer() else number


def label_again(client: LabellingClient, name: str) -> None:
    """Asks every query again."""
    run = client.label_again(name)
    print(
        f"{name}: {counted(run.counts.left, 'query is', 'queries are')} asked again; the labels so far are kept apart."
    )


def delete(client: LabellingClient, name: str, ask: bool) -> None:
    """Removes a run with all its labels, once the user has said so.

    Raises:
        UserError: the user said no, or there is nobody to ask.
    """
    run = client.run(name)
    if ask:
        trains = f"A program trains on it now ({_state(run)}). " if run.training else ""
        agreed_to(
            f"{trains}Delete {name} with {counted(run.counts.labels, 'label')} for good? "
            "Type its name: ",
            name,
        )
    # whoever was asked was told that a program trains on it
    client.delete(name, although_it_trains=ask and run.training is not None)
    print(f"Deleted {name} and its {counted(run.counts.labels, 'label')}.")


def agreed_to(question: str, name: str) -> None:
    """Asks whether something is to be deleted; whoever types its name has said yes.

    Raises:
        UserError: the user said no, or there is nobody to ask.
    """
    try:
        typed = input(question)
    except EOFError:
        raise UserError(f"{name} was not deleted: give --yes where nobody can be asked.") from None
    if typed.strip() != name:
        raise UserError(f"{name} was not deleted.")
