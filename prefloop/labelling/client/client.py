"""What programs say to the labelling server."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote
from uuid import UUID

from prefloop.data.segments import Segments, concatenate
from prefloop.envs.settings import Env, as_settings
from prefloop.envs.spaces import Spaces
from prefloop.errors import UserError
from prefloop.labelling.arrays import from_archive, pad, replay_kind, to_archive
from prefloop.labelling.client.calling import NOT_UNDERSTOOD, Caller, RefusedError
from prefloop.labelling.limits import MAX_NAME, MAX_STUDY, RUN_NAME, STUDY_NAME
from prefloop.labelling.schemas.annotate import AnswerOut, LeasesOut
from prefloop.labelling.schemas.arena import RankingOut
from prefloop.labelling.schemas.base import MAX_QUERIES, HealthOut
from prefloop.labelling.schemas.comparisons import MissingOut
from prefloop.labelling.schemas.people import ForgottenOut, StoredOut
from prefloop.labelling.schemas.results import ResultsOut
from prefloop.labelling.schemas.runs import ExcludedOut, RunOut
from prefloop.labelling.schemas.settings import RunSettingsOut
from prefloop.labelling.schemas.studies import (
    DeletedStudyOut,
    DoubtedOut,
    ParticipantOut,
    StudyIn,
    StudyOut,
)
from prefloop.labelling.schemas.training import (
    ClipOut,
    EventOut,
    LabelsOut,
    NewLabelsOut,
    SegmentsOut,
)
from prefloop.labelling.schemas.trainings import TrainingOut, WishesOut

EXPORT_SECONDS = 600.0  # that a large run may take; asked again, it would take them again
_SEGMENTS_AT_ONCE = 200


class LabellingClient(Caller):
    """Speaks to one server; any number of threads may use it. Made as a `Caller` is.

    Everything that is sent can be sent twice without harm: ids are made by the sender. So a call
    whose reply got lost is made again, until the server answers or patience ends.

    Raises:
        RefusedError: by any method: what was asked contradicts what is stored, or is not allowed.
        UserError: by any method: the server did not answer in time, or is none.
    """

    def page(self, name: str) -> str:
        """Address at which people label a run."""
        return f"{self.url}/#/label/{quote(name, safe='')}"

    def results_page(self, name: str) -> str:
        """Address of what a run's labels say."""
        return f"{self.url}/#/results/{quote(name, safe='')}"

    def comparison_page(self, id: UUID) -> str:
        """Address of a comparison."""
        return f"{self.url}/#/comparisons/{id}"

    def health(self) -> HealthOut:
        """What answers there."""
        try:
            return self._read(self._call("GET", "/api/health"), HealthOut)
        except RefusedError as error:
            if error.status == 404:  # a server, but its page's address or a wrong path
                raise self._none() from None
            raise

    # runs

    def runs(self) -> list[RunOut]:
        """All runs, the newest first."""
        reply = self._call("GET", "/api/runs")
        return [self._checked(RunOut, run) for run in self._json(reply)]

    def run(self, name: str) -> RunOut:
        """One run."""
        return self._read(self._call("GET", _path(name)), RunOut)

    def put_run(self, name: str, env: Env, spaces: Spaces, **facts: Any) -> RunOut:
        """Makes a run or continues it.

        Args:
            env: what people will see.
            spaces: its observations and actions.
            facts: `instructions`, `frames_per_second`, `annotators_per_query`, `repeats`; None
                keeps what is there. `agents`, each with `name` and `digest`, makes it an arena.
        """
        about = as_settings(env)
        body = {"env": about.env, "env_changes": about.changes, "spaces": spaces.facts, **facts}
        return self._read(self._call("PUT", _path(name), json=body), RunOut)

    def rename(self, name: str, new_name: str) -> RunOut:
        """Gives a run another name."""
        body = {"name": new_name}
        return self._read(
            self._call("POST", f"{_path(name)}/rename", once=True, json=body),
            RunOut,
        )

    def archive(self, name: str, archived: bool = True) -> RunOut:
        """Puts a run away, or brings it back."""
        action = "archive" if archived else "bring-back"
        return self._read(self._call("POST", f"{_path(name)}/{action}"), RunOut)

    def set_own(self, name: str, changes: Mapping[str, float | None]) -> RunSettingsOut:
        """Sets keys of labelling.yaml for one run; None: as the file says."""
        path = f"{_path(name)}/settings"
        return self._read(self._call("PUT", path, json=changes), RunSettingsOut)

    def run_settings(self, name: str) -> RunSettingsOut:
        """What of labelling.yaml may be other for a run, and is."""
        return self._read(self._call("GET", f"{_path(name)}/settings"), RunSettingsOut)

    def delete(self, name: str, although_it_trains: bool = False) -> None:
        """Removes a run with all its labels; a program that trains on it then ends with an error."""
        params = {"although_it_trains": although_it_trains}
        self._call("DELETE", _path(name), once=True, params=params, timeout=EXPORT_SECONDS)

    def label_again(self, name: str) -> RunOut:
        """Asks every query again."""
        return self._read(self._call("POST", f"{_path(name)}/label-again", once=True), RunOut)

    def exclude(self, name: str, annotator: str, excluded: bool = True) -> list[str]:
        """Leaves an annotator's labels out of training and agreement, or takes them in; all who are out."""
        path = f"{_path(name)}/{'exclude' if excluded else 'include'}"
        reply = self._call("POST", path, json={"annotator": annotator})
        return self._read(reply, ExcludedOut).excluded

    def stored(self, annotator: str) -> StoredOut:
        """What is stored of somebody."""
        reply = self._call("POST", "/api/people/stored", json={"annotator": annotator})
        return self._read(reply, StoredOut)

    def forget(self, annotator: str) -> ForgottenOut:
        """Deletes all that is stored of somebody."""
        body = {"annotator": annotator}
        reply = self._call(
            "POST", "/api/people/forget", once=True, json=body, timeout=EXPORT_SECONDS
        )
        return self._read(reply, ForgottenOut)

    def export(self, name: str, pseudonyms: bool = False) -> bytes:
        """The run's labels as a preference dataset, in a zip; with `pseudonyms`, nobody is named."""
        params = {"pseudonyms": True} if pseudonyms else None
        path = f"{_path(name)}/export"
        return self._call("GET", path, timeout=EXPORT_SECONDS, params=params).content

    def results(self, name: str) -> ResultsOut:
        """What a run's labels say of its annotators."""
        return self._read(self._call("GET", f"{_path(name)}/results"), ResultsOut)

    def put_training(self, name: str, told: Mapping[str, Any]) -> WishesOut:
        """Says what a trainer does now (`schemas.trainings.TrainingIn`); returns what is wished of it."""
        path = f"{_path(name)}/training"
        return self._read(self._call("PUT", path, json=told), WishesOut)

    def training(self, name: str) -> TrainingOut | None:
        """What a run's trainer last said; None where there never was one."""
        told = self._json(self._call("GET", f"{_path(name)}/training"))
        return None if told is None else self._checked(TrainingOut, told)

    def put_traces(self, name: str, traces: Mapping[str, Any]) -> None:
        """Says what a reward is of each step of segments (`schemas.runs.TraceIn`), by their ids."""
        self._call("PUT", f"{_path(name)}/training/traces", json={"traces": traces})

    def put_training_video(self, name: str, video: bytes) -> None:
        """Sends a video of the policy, H.264 in MP4, for the run's page."""
        self._call("PUT", f"{_path(name)}/training/video", content=video)

    def ranking(self, name: str) -> RankingOut:
        """How an arena's votes rank its agents."""
        return self._read(self._call("GET", f"{_path(name)}/ranking"), RankingOut)

    # studies

    def studies(self) -> list[StudyOut]:
        """All studies, the newest first."""
        reply = self._call("GET", "/api/studies")
        return [self._checked(StudyOut, study) for study in self._json(reply)]

    def study(self, name: str) -> StudyOut:
        """One study with its participants."""
        return self._read(self._call("GET", _study_path(name)), StudyOut)

    def study_doubts(self, name: str) -> list[DoubtedOut]:
        """Participants whose answers somebody should look at."""
        reply = self._call("GET", f"{_study_path(name)}/doubts")
        return [self._checked(DoubtedOut, one) for one in self._json(reply)]

    def put_study(self, name: str, study: StudyIn) -> StudyOut:
        """Makes a study."""
        body = study.model_dump(mode="json")
        return self._read(self._call("PUT", _study_path(name), json=body), StudyOut)

    def add_participants(self, name: str, tokens: Mapping[str, str]) -> StudyOut:
        """Adds participants to a study, each with the hash of their link's token."""
        body = {"links": [{"ref": ref, "token": token} for ref, token in tokens.items()]}
        path = f"{_study_path(name)}/participants"
        return self._read(self._call("POST", path, json=body), StudyOut)

    def revoke_link(self, name: str, ref: str) -> ParticipantOut:
        """Ends a participant's link."""
        path = f"{_study_path(name)}/participants/{quote(ref, safe='')}/revoke"
        return self._read(self._call("POST", path), ParticipantOut)

    def renew_link(self, name: str, ref: str, token: str) -> ParticipantOut:
        """Gives a participant another link, by the hash of its token."""
        path = f"{_study_path(name)}/participants/{quote(ref, safe='')}/renew"
        return self._read(self._call("POST", path, json={"token": token}), ParticipantOut)

    def revoke_open_link(self, name: str) -> StudyOut:
        """Ends the link that makes participants."""
        path = f"{_study_path(name)}/revoke-open-link"
        return self._read(self._call("POST", path, once=True), StudyOut)

    def close_study(self, name: str, closed: bool = True) -> StudyOut:
        """Ends a study, or goes on with it."""
        action = "close" if closed else "reopen"
        return self._read(self._call("POST", f"{_study_path(name)}/{action}"), StudyOut)

    def delete_study(self, name: str, with_answers: bool) -> DeletedStudyOut:
        """Deletes a study with its links and participants, and what these answered."""
        params = {"answers": with_answers}
        reply = self._call(
            "DELETE", _study_path(name), once=True, params=params, timeout=EXPORT_SECONDS
        )
        return self._read(reply, DeletedStudyOut)

    # comparisons

    def put_comparison(self, id: UUID, about: str) -> list[str]:
        """Sends a comparison (`schemas.comparisons.ComparisonIn`, as JSON); returns what videos are missing."""
        headers = {"content-type": "application/json"}
        path = f"/api/comparisons/{id}"
        reply = self._call("PUT", path, content=about.encode(), headers=headers)
        return self._read(reply, MissingOut).missing

    def put_comparison_clip(self, id: UUID, digest: str, video: bytes) -> None:
        """Sends a video that a comparison names, H.264 in MP4."""
        self._call("PUT", f"/api/comparisons/{id}/clips/{digest}", content=video)

    # training

    def add_segments(self, name: str, segments: Segments) -> list[UUID]:
        """Sends segments, and what shows them again; those that are there are not stored again.

        Returns:
            Their ids, in order.
        """
        ids: list[UUID] = []
        for start in range(0, len(segments), _SEGMENTS_AT_ONCE):
            some = segments[slice(start, start + _SEGMENTS_AT_ONCE)]
            ids += self._send_segments(name, to_archive(some))
        return ids

    def segments(self, name: str, ids: Sequence[UUID], with_replay: bool = False) -> Segments:
        """Segments of a run, in this order.

        Args:
            with_replay: with what shows them again, where the server has it, of one kind for all, and is of a
                version that gives it.
        """
        parts = []
        for start in range(0, len(ids), _SEGMENTS_AT_ONCE):
            some = from_archive(
                self._read_segments(name, ids[start:][:_SEGMENTS_AT_ONCE], with_replay)
            )
            has_one_kind = len({replay_kind(segment) for segment in some}) == 1
            parts.append(pad(some, with_replay=with_replay and has_one_kind))
        return concatenate(parts)

    def _read_segments(self, name: str, ids: Sequence[UUID], with_replay: bool) -> bytes:
        body: dict[str, Any] = {"ids": [str(id) for id in ids]}
        path = f"{_path(name)}/segments/read"
        if with_replay:
            try:
                return self._call("POST", path, json={**body, "with_replay": True}).content
            except RefusedError as error:
                if error.status != NOT_UNDERSTOOD:
                    raise
        return self._call("POST", path, json=body).content

    def _send_segments(self, name: str, archive: bytes) -> list[UUID]:
        reply = self._call("POST", f"{_path(name)}/segments", content=archive)
        return self._read(reply, SegmentsOut).ids

    def clip(self, digest: str) -> bytes:
        """A clip, by the SHA-256 of its bytes."""
        return self._call("GET", f"/clips/{digest}.mp4").content

    def put_clip(self, segment: UUID, video: bytes) -> str:
        """Sends a video that shows a segment, H.264 in MP4; returns its address on the server."""
        return self._read(
            self._call("PUT", f"/api/segments/{segment}/clip", content=video), ClipOut
        ).clip_url

    def add_queries(
        self,
        name: str,
        queries: Sequence[tuple[UUID, UUID, UUID]],
        iteration: int = 0,
        agents: Sequence[tuple[str, str]] | None = None,
        next_up: bool = False,
    ) -> None:
        """Puts queries at the end of the queue.

        Args:
            queries: id, first and second segment of each; one whose id is known stays as it is.
            agents: in an arena, whose the two segments of each are.
            next_up: puts them at its beginning instead.
        """
        asked: list[dict[str, Any]] = [
            {"id": str(id), "first": str(first), "second": str(second)}
            for id, first, second in queries
        ]
        for query, both in zip(asked, agents or (), strict=agents is not None):
            query["agents"] = both
        for start in range(0, len(asked), MAX_QUERIES):
            body = {"iteration": iteration, "queries": asked[start : start + MAX_QUERIES]}
            if next_up:  # a server of an earlier version does not know the word
                body["next_up"] = True
            self._call("POST", f"{_path(name)}/queries", json=body)

    def labels(self, name: str, after: int = 0) -> LabelsOut:
        """One page of a run's events since a cursor."""
        reply = self._call("GET", f"{_path(name)}/labels", params={"after": after})
        return self._read(reply, LabelsOut)

    def all_labels(self, name: str) -> Iterator[EventOut]:
        """All of a run's events."""
        after, more = 0, True
        while more:
            page = self.labels(name, after)
            yield from page.events
            after, more = page.next, page.more

    def add_labels(self, name: str, labels: Sequence[Mapping[str, Any]]) -> int:
        """Stores labels that were given elsewhere; returns how many were new.

        Args:
            labels: each with `id`, `query`, `annotator`, `label`, and optionally `trim`, `seconds`.
        """
        body = {"labels": [dict(label) for label in labels]}
        reply = self._call("POST", f"{_path(name)}/labels", json=body)
        return self._read(reply, NewLabelsOut).added

    def put_reward_report(
        self,
        name: str,
        accuracy: float,
        labels: int,
        hardest: Sequence[Mapping[str, Any]] = (),
        trust: Mapping[str, Any] | None = None,
    ) -> None:
        """Says how well a reward model agrees with the labels, for the results page.

        Args:
            trust: how far it can be trusted, as `schemas.trust.TrustIn` has it; servers of earlier
                versions refuse it.
        """
        body: dict[str, Any] = {
            "accuracy": accuracy,
            "labels": labels,
            "hardest": [dict(h) for h in hardest],
        }
        if trust is not None:
            body["trust"] = dict(trust)
        self._call("PUT", f"{_path(name)}/reward-report", json=body)

    # labelling

    def lease(
        self,
        name: str,
        annotator: str,
        session: UUID,
        count: int = 1,
        holding: Sequence[UUID] = (),
    ) -> LeasesOut:
        """Fetches queries to label; those of `session` that are not in `holding` come again."""
        body = {
            "annotator": annotator,
            "session": str(session),
            "count": count,
            "holding": [str(lease) for lease in holding],
        }
        return self._read(self._call("POST", f"{_path(name)}/leases", json=body), LeasesOut)

    def answer(
        self,
        id: UUID,
        lease: UUID,
        choice: str,
        trim: tuple[int, int] | None = None,
        seconds: float | None = None,
    ) -> AnswerOut:
        """Answers a leased query; when it returns, the answer is on disk."""
        body = {
            "id": str(id),
            "lease": str(lease),
            "choice": choice,
            "trim": {"start": trim[0], "stop": trim[1]} if trim else None,
            "seconds": seconds,
        }
        return self._read(self._call("POST", "/api/answers", json=body), AnswerOut)

    def undo(self, id: UUID, run: str, annotator: str, session: UUID) -> LeasesOut:
        """Takes back an annotator's last answer that stands."""
        body = {"id": str(id), "run": run, "annotator": annotator, "session": str(session)}
        return self._read(self._call("POST", "/api/undo", json=body), LeasesOut)


def require_run_name(run: str) -> None:
    """Refuses what no run can be called.

    Raises:
        UserError: says what one is called.
    """
    _require_name("run", run, RUN_NAME, MAX_NAME)


def require_study_name(name: str) -> None:
    """Refuses what no study can be called.

    Raises:
        UserError: says what one is called.
    """
    _require_name("study", name, STUDY_NAME, MAX_STUDY)


def _require_name(what: str, name: str, pattern: str, most: int) -> None:
    if not re.fullmatch(pattern, name):
        raise UserError(
            f"{name!r} won't do: a {what} is named by letters, digits, dots, dashes and underscores, "
            f"{most} at most."
        )


def _study_path(name: str) -> str:
    """Where a study is.

    Raises:
        UserError: it can't be called so.
    """
    require_study_name(name)
    return f"/api/studies/{name}"


def _path(run: str) -> str:
    """Where a run is.

    Raises:
        UserError: it can't be called so.
    """
    require_run_name(run)
    return f"/api/runs/{run}"
