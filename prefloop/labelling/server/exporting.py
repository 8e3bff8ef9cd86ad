"""A run as a preference dataset (docs/data_format.md), in a zip, with all that an import needs."""

import io
import json
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from prefloop.data import dataset
from prefloop.data.preferences import Preferences
from prefloop.errors import UserError
from prefloop.labelling.arrays import Segment, pad, replay_kind
from prefloop.labelling.server.storage.records import Event, Exported

SHARD = 500  # segments in a file at most

Trim = tuple[int, int] | None
Places = dict[tuple[UUID, Trim], int]  # of segments, and of parts of them, among all of the dataset


def as_zip(exported: Exported) -> bytes:
    """The dataset's folder in a zip: every label that stands is a line, the oldest first.

    Where the annotator narrowed what was compared, the line's segments are that part, and `whole` says
    of what. Labels of repeats say how consistent somebody is and are no new evidence: they stand in a
    file of their own, which no reader of preferences looks into.

    Raises:
        UserError: there are no labels yet.
    """
    if not exported.labels:
        if exported.run.counts.labels:
            raise UserError(
                f"The run {exported.run.name} has no labels but those of who is left out; take somebody in again, by "
                "prefloop runs include."
            )
        raise UserError(f"The run {exported.run.name} has no labels yet.")
    labels = [event for event in exported.labels if not event.repeat]
    repeats = [event for event in exported.labels if event.repeat]
    order = _order(exported)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preferences"
        with dataset.writing(path, _metadata(exported)) as writer:
            places = _store(writer, exported)
            facts = [_facts(event, exported, places, order) for event in labels]
            columns = {name: [said[name] for said in facts] for name in (facts[0] if facts else ())}
            if labels:
                preferences = _preferences(exported, labels)
                writer.append(preferences, teacher="human", **columns)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(path.glob("[!.]*")):
                archive.write(file, file.name)
            if not labels:
                archive.writestr(dataset.PREFERENCES, "")
            if repeats:
                again = [
                    {
                        **_sides(event, exported, places),
                        "label": event.label,
                        **_facts(event, exported, places, order),
                    }
                    for event in repeats
                ]
                archive.writestr(dataset.REPEATS, _as_lines(again))
            clips = [
                {"segment": place, "clip": exported.clips[id]}
                for (id, trim), place in places.items()
                if trim is None and id in exported.clips
            ]
            if clips:
                archive.writestr(dataset.CLIPS, _as_lines(clips))
        return buffer.getvalue()


def _as_lines(said: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in said)


def _metadata(exported: Exported) -> dict[str, Any]:
    run = exported.run
    return {
        "program": "prefloop label",
        **run.env.facts,
        "run": run.name,
        "instructions": run.instructions,
        "round": run.round,
        "spaces": run.spaces.facts,
        "frames_per_second": run.frames_per_second,
        "annotators_per_query": run.annotators_per_query,
        "repeats": run.repeats,
        **({"own_settings": dict(run.own_settings)} if run.own_settings else {}),
        **({"agents": exported.digests} if exported.digests else {}),
        **({"pseudonyms": True} if exported.pseudonyms else {}),
    }


def _order(exported: Exported) -> dict[UUID, int]:
    """The place of each labelled query among those, in the order in which they were asked."""
    labelled = {event.query for event in exported.labels}
    return {id: i for i, id in enumerate(id for id in exported.queries if id in labelled)}


def _store(writer: dataset.Writer, exported: Exported) -> Places:
    """Stores what labels are about, whole and in parts, each once and in the order of the labels."""
    wanted: dict[tuple[UUID, Trim], Segment] = {}
    for event in sorted(exported.labels, key=lambda event: event.repeat):
        for id in exported.queries[event.query][:2]:
            whole = exported.segments[id]
            wanted[id, None] = whole
            if event.trim:
                wanted[id, event.trim] = whole.part(*event.trim)
    kinds: dict[tuple[object, ...], list[tuple[UUID, Trim]]] = {}
    for key, segment in wanted.items():
        kinds.setdefault(replay_kind(segment), []).append(key)
    places: Places = {}
    # first what can be shown again: a part may be all that there is, and is then the whole
    for _, keys in sorted(kinds.items(), key=lambda kind: not kind[0]):
        for start in range(0, len(keys), SHARD):
            some = keys[start : start + SHARD]
            stored = writer.store(pad([wanted[key] for key in some], with_replay=True))
            places.update(zip(some, stored.tolist(), strict=True))
    return places


def _preferences(exported: Exported, given: Sequence[Event]) -> Preferences:
    places: Places = {}
    parts: list[Segment] = []

    def place(id: UUID, trim: Trim) -> int:
        if (id, trim) not in places:
            places[id, trim] = len(parts)
            whole = exported.segments[id]
            parts.append(whole.part(*trim) if trim else whole)
        return places[id, trim]

    sides = [[place(id, e.trim) for id in exported.queries[e.query][:2]] for e in given]
    first, second = np.array(sides, dtype=np.int64).T
    labels = [np.nan if event.label is None else event.label for event in given]
    return Preferences(pad(parts), first, second, np.array(labels, dtype=np.float64))


def _sides(event: Event, exported: Exported, places: Places) -> dict[str, int]:
    first, second = (places[id, event.trim] for id in exported.queries[event.query][:2])
    return {"first": first, "second": second}


def _facts(
    event: Event, exported: Exported, places: Places, order: dict[UUID, int]
) -> dict[str, object]:
    first, second, iteration = exported.queries[event.query]
    return {
        "annotator": event.annotator,
        "query": str(event.query),
        "iteration": iteration,
        "asked": order[event.query],
        "first_was_left": event.first_was_left,
        "trim": list(event.trim) if event.trim else None,
        "whole": [places[first, None], places[second, None]] if event.trim else None,
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
