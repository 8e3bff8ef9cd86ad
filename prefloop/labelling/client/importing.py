"""A run as a preference dataset in a folder, and a preference dataset as a run.

Of an export nothing is lost: who answered when and how long it took, what stood left, which part was
compared, repeats, what shows segments again, and the clips that were sent. The environment need not be
here: an export says what its observations and actions are.
"""

import re
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from prefloop.data import dataset
from prefloop.data.segments import Segments
from prefloop.envs.make import make_env
from prefloop.envs.settings import EnvSettings, from_facts
from prefloop.envs.spaces import Spaces, spaces_of
from prefloop.errors import UserError, note
from prefloop.files import whole_folder, write_atomically
from prefloop.labelling.client.asking import query_id
from prefloop.labelling.client.calling import RefusedError
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.client.contests import contest_id
from prefloop.labelling.client.managing import write_export
from prefloop.labelling.limits import MAX_NAME, as_shown
from prefloop.labelling.schemas.runs import RunOut
from prefloop.labelling.schemas.training import EventOut
from prefloop.progress import progress
from prefloop.words import counted

_NAMESPACE = UUID("7d1f0b0c-6a55-4c3e-9a56-0f2b8f0f6a11")  # of the ids of imported labels
LABELS_AT_ONCE = 1000
_KEPT = ("instructions", "frames_per_second", "annotators_per_query", "repeats")  # of a run


@dataclass(frozen=True)
class _Answer:
    """A line of preferences.jsonl, or of repeats.jsonl.

    Attributes:
        sides: positions of first and second, whole, among all segments.
        label: None is a skip.
        said: what else the line says.
    """

    sides: tuple[int, int]
    label: float | None
    said: Mapping[str, Any]

    @property
    def is_about_one(self) -> bool:
        """Whether a segment is compared with itself."""
        return self.sides[0] == self.sides[1]

    @property
    def agents(self) -> tuple[str, str] | None:
        """In an arena, whose the two are."""
        if "first_agent" not in self.said:
            return None
        return str(self.said["first_agent"]), str(self.said.get("second_agent"))


def import_from_folder(client: LabellingClient, folder: str, name: str) -> None:
    """Makes a run of a preference dataset, with its labels; sent twice, it is there once."""
    path = Path(folder)
    metadata = dataset.read_metadata(path)
    shards = dataset.read_shards(path)
    if not shards:
        raise UserError(f"{path} holds no segments yet.")
    total = sum(map(len, shards))
    answers = _answers(path, dataset.PREFERENCES, total)
    repeats = _answers(path, dataset.REPEATS, total)
    if len({answer.agents is None for answer in [*answers, *repeats]}) > 1:
        raise UserError(f"{path} is damaged: some of its lines name agents, and others don't.")
    run, is_new = _run(client, name, path, metadata, shards)
    # with the run: where what follows breaks off, the next import finds it there, and these in it
    if is_new and metadata.get("own_settings"):
        try:
            client.set_own(name, metadata["own_settings"])
        except RefusedError as error:
            note(f"The run's own settings were not taken over: {error}")
    ids = _send_segments(client, name, shards, [*answers, *repeats])
    queries = _ask(client, name, ids, [*answers, *repeats])
    # after label-again the same labels are others
    place = name if run.round == 1 else f"{name} round {run.round}"
    standing = {} if is_new else _standing(client, name)
    added, there = _send_labels(client, name, place, queries, answers, standing)
    print(f"{name}: {counted(added, 'label')} added, {there} were there.")
    if repeats:
        added, there = _send_labels(client, name, place, queries, repeats, standing, repeat=True)
        print(f"{name}: {counted(added, 'repeat')} added, {there} were there.")
    left_out = sum(answer.is_about_one for answer in [*answers, *repeats])
    if left_out:
        note(
            f"{counted(left_out, 'label')} of a segment compared with itself "
            f"{'was' if left_out == 1 else 'were'} left out: nothing can be learned from them."
        )
    _send_clips(client, path, ids)


def export_to_folder(
    client: LabellingClient, name: str, folder: str, pseudonyms: bool = False
) -> None:
    """Writes a run's labels as a preference dataset; with `pseudonyms`, nobody is named in it."""
    path = Path(folder)
    if path.exists():
        raise UserError(f"{path} exists already; choose another folder.")
    with whole_folder(path) as unfinished:
        write_export(client, name, unfinished, pseudonyms)
        _save_clips(client, unfinished)
    _, _, labels, _ = dataset.read_answers(path)
    skips = int(np.isnan(labels).sum())
    print(
        f"Wrote {path}: {counted(len(labels) - skips, 'answer')} "
        f"({counted(int((labels == 0.5).sum()), 'tie')}), {counted(skips, 'skip')}."
    )
    print(f"Next: prefloop reward --preferences {path} --out reward")


def _answers(path: Path, file: str, num_segments: int) -> list[_Answer]:
    """The lines of a file that is there in some datasets.

    Raises:
        UserError: a line is damaged.
    """
    try:
        first, second, labels, facts = dataset.read_answers(path, file)
    except UserError:
        if file != dataset.REPEATS:
            raise
        note(f"{path / file} is of an earlier version and says not what its labels are about.")
        return []
    found = []
    for i, said in enumerate(facts):
        whole = said.get("whole") or [int(first[i]), int(second[i])]
        known = isinstance(whole, list) and len(whole) == 2
        if not known or not all(type(x) is int and 0 <= x < num_segments for x in whole):
            raise UserError(f"{path / file}, line {i + 1} is damaged: it names no segments.")
        if not isinstance(said.get("query"), str | None):
            raise UserError(f"{path / file}, line {i + 1} is damaged: its query is no text.")
        label = None if np.isnan(labels[i]) else float(labels[i])
        found.append(_Answer((whole[0], whole[1]), label, said))
    return found


def _run(
    client: LabellingClient,
    name: str,
    path: Path,
    metadata: Mapping[str, Any],
    shards: Sequence[Segments],
) -> tuple[RunOut, bool]:
    """The run, which is made if it is not there, and whether it was."""
    env = from_facts(metadata)
    if env is None:
        raise UserError(f"{path / dataset.METADATA} names no environment.")
    known = next((run for run in client.runs() if run.name == name), None)
    facts: dict[str, Any] = {}
    if known is None:  # what was changed since the first import is not changed back
        facts = {key: metadata[key] for key in _KEPT if metadata.get(key) is not None}
    if metadata.get("agents"):
        if not isinstance(metadata["agents"], Mapping):
            raise UserError(f"{path / dataset.METADATA} is damaged: its agents are no table.")
        agents = dict(metadata["agents"])
        facts["agents"] = [{"name": key, "digest": digest} for key, digest in agents.items()]
    spaces = Spaces.from_facts(known.spaces) if known else _spaces(env, path, metadata, shards)
    return client.put_run(name, env=env, spaces=spaces, **facts), known is None


def _spaces(
    env: EnvSettings, path: Path, metadata: Mapping[str, Any], shards: Sequence[Segments]
) -> Spaces:
    """Observations and actions of the environment, which need not be installed here."""
    if "spaces" in metadata:
        try:
            return Spaces.from_facts(metadata["spaces"])
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{path / dataset.METADATA} is damaged: spaces are none.") from None
    try:
        return spaces_of(make_env(env))
    except UserError as error:
        some = shards[0]
        if some.discrete:
            number = 1 + max(int(shard.actions.max()) for shard in shards)
            note(f"{error} It is taken to have as many actions as were chosen: {number}.")
        else:
            number = some.actions.shape[2]
        kind = some.obs.shape[2:], str(some.obs.dtype), some.discrete, number
        return Spaces(*kind, frame_stack=some.frame_stack)


def _send_segments(
    client: LabellingClient, name: str, shards: Sequence[Segments], answers: Sequence[_Answer]
) -> dict[int, UUID]:
    """Sends what is named, with what shows it again; the server's ids by position."""
    named = np.unique([side for answer in answers for side in answer.sides])
    ids: dict[int, UUID] = {}
    start = 0
    with progress(len(named), "segments", leave=False) as bar:
        for shard in shards:
            here = named[(named >= start) & (named < start + len(shard))]
            if len(here):
                sent = client.add_segments(name, shard[here - start])
                ids.update(zip(here.tolist(), sent, strict=True))
                bar.update(units=len(here))
            start += len(shard)
    return ids


def _ask(
    client: LabellingClient, name: str, ids: Mapping[int, UUID], answers: Sequence[_Answer]
) -> dict[tuple[object, ...], UUID]:
    """Queues what was asked, in the order in which it was; the server's ids of the queries by `_asked`.

    A trainer that asks the same of the run meets these.
    """
    found: dict[tuple[object, ...], tuple[UUID, _Answer]] = {}
    times: Counter[UUID] = Counter()
    for answer in answers:
        if answer.is_about_one or _asked(answer) in found:
            continue
        first, second = (ids[side] for side in answer.sides)
        if answer.agents:
            id = contest_id(first, second, answer.agents)
        else:
            plain = query_id(first, second)
            id = query_id(first, second, times[plain])
            times[plain] += 1
        found[_asked(answer)] = id, answer
    rows = sorted(found.values(), key=lambda row: _number(row[1], "asked"))
    start = 0
    for i, (_, answer) in enumerate(rows, 1):
        iteration = _number(answer, "iteration")
        if i < len(rows) and _number(rows[i][1], "iteration") == iteration:
            continue
        some = rows[start:i]
        new = [(id, ids[one.sides[0]], ids[one.sides[1]]) for id, one in some]
        agents = [one.agents for _, one in some if one.agents]
        client.add_queries(name, new, iteration, agents or None)
        start = i
    return {asked: id for asked, (id, _) in found.items()}


def _asked(answer: _Answer) -> tuple[object, ...]:
    """What tells queries apart: their segments, and where the line names it the query that it was."""
    return (*answer.sides, answer.said.get("query"))


def _number(answer: _Answer, key: str) -> int:
    value = answer.said.get(key)
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0


def _standing(client: LabellingClient, name: str) -> dict[tuple[str, str, bool], EventOut]:
    """The labels of a run that stand, by query, annotator, and whether they are of repeats."""
    found: dict[UUID, EventOut] = {}
    for event in client.all_labels(name):
        if event.undoes is None:
            found[event.id] = event
        else:
            found.pop(event.undoes, None)
    return {(str(one.query), one.annotator, one.repeat): one for one in found.values()}


def _send_labels(
    client: LabellingClient,
    name: str,
    place: str,
    queries: Mapping[tuple[object, ...], UUID],
    answers: Sequence[_Answer],
    standing: Mapping[tuple[str, str, bool], EventOut],
    repeat: bool = False,
) -> tuple[int, int]:
    """Sends labels; how many were new, and how many were there.

    Args:
        standing: as `_standing` says; those that say the same are there, whatever id an import of an earlier
            version gave them.
    """
    times: Counter[tuple[UUID, str]] = Counter()
    labels: list[dict[str, Any]] = []
    for answer in answers:
        if answer.is_about_one:
            continue
        query, said = queries[_asked(answer)], answer.said
        who = as_shown(str(said.get("annotator") or "")) or "imported"
        times[query, who] += 1
        # an annotator labels a query once; simulated teachers are asked the same pair again
        again = f" ({times[query, who]})" if times[query, who] > 1 else ""
        # not by its line: in a later export others may be missing
        named = f"{place} {query} {'repeat ' * repeat}{who} {times[query, who]}"
        labels.append(
            {
                "id": str(uuid.uuid5(_NAMESPACE, named)),
                "query": str(query),
                "annotator": who[: MAX_NAME - len(again)] + again,
                "label": answer.label,
                "seconds": said.get("seconds"),
                "trim": _trim(said),
                "first_was_left": said.get("first_was_left"),
                "repeat": repeat,
                "time": said.get("time"),
            }
        )
    new = [
        label
        for label in labels
        if not _says_the_same(label, standing.get((label["query"], label["annotator"], repeat)))
    ]
    added = sum(
        client.add_labels(name, new[start : start + LABELS_AT_ONCE])
        for start in range(0, len(new), LABELS_AT_ONCE)
    )
    return added, len(labels) - added


def _says_the_same(label: Mapping[str, Any], event: EventOut | None) -> bool:
    if event is None:
        return False
    trim = event.trim.model_dump() if event.trim else None
    said = label["label"], label["seconds"], label["trim"]
    return said == (event.label, event.seconds, trim)


def _trim(said: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where the pair lies in its whole segments; where the line names none, the parts are segments of their own."""
    trim = said.get("trim")
    if not said.get("whole") or not isinstance(trim, list) or len(trim) != 2:
        return None
    return {"start": trim[0], "stop": trim[1]}


def _save_clips(client: LabellingClient, path: Path) -> None:
    """Fetches the clips that an export names: those that were sent and that nobody can draw again."""
    gone, digests = 0, dict.fromkeys(clip for _, clip in _clips(path))
    if not digests:
        return
    (path / "clips").mkdir()
    with progress(len(digests), "clips", leave=False) as bar:
        for digest in digests:
            try:
                write_atomically(_clip_file(path, digest), client.clip(digest))
            except RefusedError:
                gone += 1
            bar.update()
    if gone:
        note(f"{counted(gone, 'clip')} that the run names {'is' if gone == 1 else 'are'} gone.")


def _send_clips(client: LabellingClient, path: Path, ids: Mapping[int, UUID]) -> None:
    clips = _clips(path)
    if not clips:
        return
    with progress(len(clips), "clips", leave=False) as bar:
        for segment, digest in clips:
            file = _clip_file(path, digest)
            if segment in ids and file.exists():
                try:
                    client.put_clip(ids[segment], file.read_bytes())
                except OSError as error:
                    raise UserError(f"Can't read {file}: {error.strerror}.") from None
            bar.update()


def _clips(path: Path) -> list[tuple[int, str]]:
    """Which segments of an export have clips that were sent: positions, and digests.

    Raises:
        UserError: the file that says so is damaged.
    """
    found = []
    for i, line in enumerate(dataset.read_clips(path)):
        segment, digest = line.get("segment"), line.get("clip")
        if type(segment) is not int or not re.fullmatch("[0-9a-f]{64}", str(digest)):
            raise UserError(f"{path / dataset.CLIPS}, line {i + 1} is damaged: it names no clip.")
        found.append((segment, str(digest)))
    return found


def _clip_file(path: Path, digest: str) -> Path:
    return path / "clips" / f"{digest}.mp4"
