"""A run as a preference dataset (docs/data_format.md), in a zip."""

import io
import json
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import numpy as np

from prefloop.data import dataset
from prefloop.data.preferences import Preferences
from prefloop.errors import UserError
from prefloop.labelling.arrays import Segment, pad
from prefloop.labelling.server.storage.records import Event, Exported

REPEATS = "repeats.jsonl"  # beside the dataset's own files


def as_zip(exported: Exported) -> bytes:
    """The dataset's folder in a zip: every label that stands is a line, the oldest first.

    Where the annotator narrowed what was compared, the line's segments are that part. Labels of
    repeats say how consistent somebody is and are no new evidence: they stand in a file of their
    own, which no reader of datasets looks into.

    Raises:
        UserError: there are no labels yet.
    """
    if not exported.labels:
        raise UserError(f"The run {exported.run.name} has no labels yet.")
    labels = [event for event in exported.labels if not event.repeat]
    repeats = [event for event in exported.labels if event.repeat]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preferences"
        metadata = {
            "program": "prefloop label",
            **exported.run.env.facts,
            "run": exported.run.name,
            "instructions": exported.run.instructions,
            "round": exported.run.round,
        }
        with dataset.writing(path, metadata) as writer:
            said = [_facts(event, exported) for event in labels]
            columns = {name: [facts[name] for facts in said] for name in (said[0] if said else ())}
            writer.append(_preferences(exported, labels), teacher="human", **columns)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(path.glob("[!.]*")):
                archive.write(file, file.name)
            if repeats:
                lines = [
                    json.dumps({"label": event.label, **_facts(event, exported)})
                    for event in repeats
                ]
                archive.writestr(REPEATS, "".join(line + "\n" for line in lines))
        return buffer.getvalue()


def _preferences(exported: Exported, given: Sequence[Event]) -> Preferences:
    places: dict[tuple[UUID, tuple[int, int] | None], int] = {}
    parts: list[Segment] = []

    def place(id: UUID, trim: tuple[int, int] | None) -> int:
        if (id, trim) not in places:
            places[id, trim] = len(parts)
            whole = exported.segments[id]
            parts.append(whole.part(*trim) if trim else whole)
        return places[id, trim]

    sides = [[place(id, e.trim) for id in exported.queries[e.query][:2]] for e in given]
    first, second = np.array(sides, dtype=np.int64).T
    labels = [np.nan if event.label is None else event.label for event in given]
    return Preferences(pad(parts), first, second, np.array(labels, dtype=np.float64))


def _facts(event: Event, exported: Exported) -> dict[str, object]:
    return {
        "annotator": event.annotator,
        "query": str(event.query),
        "iteration": exported.queries[event.query][2],
        "first_was_left": event.first_was_left,
        "trim": list(event.trim) if event.trim else None,
        "seconds": event.seconds,
        "time": event.created_at.isoformat(),
        **_agents(event, exported),
    }


def _agents(event: Event, exported: Exported) -> dict[str, str]:
    """In an arena, whose segments the two are."""
    if event.query not in exported.agents:
        return {}
    first, second = exported.agents[event.query]
    return {"first_agent": first, "second_agent": second}
