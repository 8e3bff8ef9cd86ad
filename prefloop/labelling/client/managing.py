"""What `prefloop runs` does: a run's labels in and out, its name, its end."""

import io
import json
import uuid
import zipfile
from collections import Counter
from pathlib import Path
from uuid import UUID

import numpy as np

from prefloop.data import dataset
from prefloop.data.preferences import Queries
from prefloop.envs.make import make_env
from prefloop.envs.settings import from_facts
from prefloop.envs.spaces import spaces_of
from prefloop.errors import UserError
from prefloop.files import write_atomically
from prefloop.labelling.client.asking import ask
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.limits import MAX_NAME
from prefloop.labelling.schemas.runs import RunOut

_NAMESPACE = UUID("7d1f0b0c-6a55-4c3e-9a56-0f2b8f0f6a11")  # of the ids of imported labels
LABELS_AT_ONCE = 1000


def list_runs(client: LabellingClient) -> None:
    """Prints a line for each run."""
    runs = client.runs()
    if not runs:
        print("There are no runs yet. prefloop collect makes one.")
        return
    width = max(4, *(len(run.name) for run in runs))
    print(f"{'name':{width}}  {'env':20}  queries  answered  skipped  left  made")
    for run in runs:
        counts = run.counts
        print(
            f"{run.name:{width}}  {run.env:20}  {counts.queries:7}  {counts.answered:8}  "
            f"{counts.skipped:7}  {counts.left:4}  {run.created_at:%Y-%m-%d %H:%M}"
        )


def counted(number: int, one: str, many: str = "") -> str:
    """1 label, 2 labels; `many` where an s is not enough."""
    return f"{number} {one if number == 1 else many or one + 's'}"


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
            f"{counted(results.reward.labels, 'label')}"
        )
    if run.arena:
        lines.append(f"an arena: prefloop arena --name {run.name} ranks what it compares")
    if run.instructions:
        lines.append(f"instructions: {run.instructions}")
    print("\n".join(lines))


def export_to_folder(client: LabellingClient, name: str, folder: str) -> None:
    """Writes a run's labels as a preference dataset."""
    path = Path(folder)
    if path.exists():
        raise UserError(f"{path} exists already; choose another folder.")
    write_export(client, name, path)
    preferences = dataset.read(path)
    print(
        f"Wrote {path}: {counted(len(preferences.answered), 'answer')} "
        f"({counted(preferences.answered.num_ties, 'tie')}), "
        f"{counted(len(preferences) - len(preferences.answered), 'skip')}."
    )
    print(f"Next: prefloop reward --preferences {path} --out reward")


def write_export(client: LabellingClient, name: str, path: Path) -> None:
    """Writes a run's labels as a preference dataset, in place of an earlier export.

    Raises:
        UserError: there are no labels yet, or the folder can't be written.
    """
    archive = zipfile.ZipFile(io.BytesIO(client.export(name)))
    # what others name comes first and what names them last, as a writer of a dataset does
    last = (dataset.PREFERENCES, dataset.METADATA)
    members = [*(set(archive.namelist()) - set(last)), *last]
    try:
        path.mkdir(parents=True, exist_ok=True)
        for member in members:
            write_atomically(path / Path(member).name, archive.read(member))
    except OSError as error:
        raise UserError(f"Can't write {path}: {error.strerror}.") from None


def import_from_folder(client: LabellingClient, folder: str, name: str) -> None:
    """Makes a run of a preference dataset, with its labels; sent twice, it is there once."""
    path = Path(folder)
    preferences = dataset.read(path)
    env = from_facts(dataset.read_metadata(path))
    if env is None:
        raise UserError(f"{path / dataset.METADATA} names no environment.")
    run = client.put_run(name, env=env, spaces=spaces_of(make_env(env)))
    # after label-again the same labels are others
    place = name if run.round == 1 else f"{name} round {run.round}"
    ids, _ = ask(client, name, Queries(preferences.segments, preferences.first, preferences.second))
    lines = (path / dataset.PREFERENCES).read_text(encoding="utf-8").splitlines()
    times: Counter[tuple[UUID, str]] = Counter()
    labels = []
    for i, (query, label) in enumerate(zip(ids, preferences.labels, strict=True)):
        said = json.loads(lines[i])
        who = str(said.get("annotator") or "imported")
        times[query, who] += 1
        # an annotator labels a query once; simulated teachers are asked the same pair again
        again = f" ({times[query, who]})" if times[query, who] > 1 else ""
        labels.append(
            {
                "id": str(uuid.uuid5(_NAMESPACE, f"{place} {query} {i}")),
                "query": str(query),
                "annotator": who[: MAX_NAME - len(again)] + again,
                "label": None if np.isnan(label) else float(label),
                "seconds": said.get("seconds"),
            }
        )
    added = sum(
        client.add_labels(name, labels[start : start + LABELS_AT_ONCE])
        for start in range(0, len(labels), LABELS_AT_ONCE)
    )
    print(f"{name}: {counted(added, 'label')} added, {len(labels) - added} were there.")


def rename(client: LabellingClient, name: str, new_name: str) -> None:
    """Gives a run another name."""
    if name == new_name:
        raise UserError(f"{name} is its name already.")
    client.rename(name, new_name)
    print(f"{name} is now {new_name}.")


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
    if ask and not _agreed(run):
        raise UserError(f"{name} was not deleted.")
    client.delete(name)
    print(f"Deleted {name} and its {counted(run.counts.labels, 'label')}.")


def _agreed(run: RunOut) -> bool:
    try:
        typed = input(
            f"Delete {run.name} with {counted(run.counts.labels, 'label')} for good? Type its name: "
        )
    except EOFError:
        raise UserError(
            f"{run.name} was not deleted: give --yes where nobody can be asked."
        ) from None
    return typed.strip() == run.name
