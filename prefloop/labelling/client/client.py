"""What programs say to the labelling server. A server that is restarted meanwhile is waited for."""

import random
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import UUID

import httpx
from pydantic import BaseModel, ValidationError

from prefloop.data.segments import Segments, concatenate
from prefloop.envs.settings import Env, as_settings
from prefloop.envs.spaces import Spaces
from prefloop.errors import UserError
from prefloop.labelling.arrays import from_archive, pad, to_archive
from prefloop.labelling.limits import MAX_NAME, RUN_NAME
from prefloop.labelling.schemas.annotate import AnswerOut, LeasesOut
from prefloop.labelling.schemas.arena import RankingOut
from prefloop.labelling.schemas.base import MAX_QUERIES, HealthOut
from prefloop.labelling.schemas.comparisons import MissingOut
from prefloop.labelling.schemas.results import ResultsOut
from prefloop.labelling.schemas.runs import RunOut
from prefloop.labelling.schemas.settings import RunSettingsOut
from prefloop.labelling.schemas.training import (
    ClipOut,
    EventOut,
    LabelsOut,
    NewLabelsOut,
    SegmentsOut,
)
from prefloop.labelling.schemas.trainings import WishesOut

M = TypeVar("M", bound=BaseModel)

EXPORT_SECONDS = 600.0  # that a large run may take; asked again, it would take them again
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between attempts
_TRY_AGAIN = {408, 429, 502, 503, 504}
_SEGMENTS_AT_ONCE = 200


class RefusedError(UserError):
    """The server understood and said no.

    Attributes:
        status: of HTTP, for instance 409 where something else is stored.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class LabellingClient:
    """Speaks to one server; any number of threads may use it.

    Everything that is sent can be sent twice without harm: ids are made by the sender. So a call
    whose reply got lost is made again, until the server answers or patience ends.

    Args:
        url: for instance http://127.0.0.1:8000.
        token: the trainers', where the server demands one.
        patience: seconds for which a server that does not answer is tried; None: for ever.
        on_waiting: called once whenever a server stops to answer, with a sentence.

    Raises:
        RefusedError: by any method: what was asked contradicts what is stored, or is not allowed.
        UserError: by any method: the server did not answer in time, or is none.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        patience: float | None = 60.0,
        on_waiting: Callable[[str], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = self._url = url.rstrip("/")
        self.token, self._patience = token, patience
        self._on_waiting = on_waiting
        self._sleep = sleep
        headers = {"authorization": f"Bearer {token}"} if token else {}
        try:
            # a proxy that the environment names is not asked for what runs on this machine
            self._http = httpx.Client(
                base_url=self._url, headers=headers, timeout=30, trust_env=False
            )
        except (httpx.InvalidURL, ValueError):
            raise UserError(f"{url} is no address such as http://127.0.0.1:8000.") from None

    def close(self) -> None:
        """Ends the connections."""
        self._http.close()

    def __enter__(self) -> "LabellingClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
        self._call("DELETE", _path(name), once=True, params=params)

    def label_again(self, name: str) -> RunOut:
        """Asks every query again."""
        return self._read(self._call("POST", f"{_path(name)}/label-again", once=True), RunOut)

    def export(self, name: str) -> bytes:
        """The run's labels as a preference dataset, in a zip."""
        path = f"{_path(name)}/export"
        return self._call("GET", path, timeout=EXPORT_SECONDS).content

    def results(self, name: str) -> ResultsOut:
        """What a run's labels say of its annotators."""
        return self._read(self._call("GET", f"{_path(name)}/results"), ResultsOut)

    def put_training(self, name: str, told: Mapping[str, Any]) -> WishesOut:
        """Says what a trainer does now (`schemas.trainings.TrainingIn`); returns what is wished of it."""
        path = f"{_path(name)}/training"
        return self._read(self._call("PUT", path, json=told), WishesOut)

    def put_traces(self, name: str, traces: Mapping[str, Any]) -> None:
        """Says what a reward is of each step of segments (`schemas.runs.TraceIn`), by their ids."""
        self._call("PUT", f"{_path(name)}/training/traces", json={"traces": traces})

    def put_training_video(self, name: str, video: bytes) -> None:
        """Sends a video of the policy, H.264 in MP4, for the run's page."""
        self._call("PUT", f"{_path(name)}/training/video", content=video)

    def ranking(self, name: str) -> RankingOut:
        """How an arena's votes rank its agents."""
        return self._read(self._call("GET", f"{_path(name)}/ranking"), RankingOut)

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

    def segments(self, name: str, ids: Sequence[UUID]) -> Segments:
        """Segments of a run, in this order, without what shows them."""
        path = f"{_path(name)}/segments/read"
        parts = []
        for start in range(0, len(ids), _SEGMENTS_AT_ONCE):
            some = [str(id) for id in ids[start : start + _SEGMENTS_AT_ONCE]]
            reply = self._call("POST", path, json={"ids": some})
            parts.append(pad(from_archive(reply.content)))
        return concatenate(parts)

    def _send_segments(self, name: str, archive: bytes) -> list[UUID]:
        reply = self._call("POST", f"{_path(name)}/segments", content=archive)
        return self._read(reply, SegmentsOut).ids

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
    ) -> None:
        """Puts queries at the end of the queue.

        Args:
            queries: id, first and second segment of each; one whose id is known stays as it is.
            agents: in an arena, whose the two segments of each are.
        """
        asked: list[dict[str, Any]] = [
            {"id": str(id), "first": str(first), "second": str(second)}
            for id, first, second in queries
        ]
        for query, both in zip(asked, agents or (), strict=agents is not None):
            query["agents"] = both
        for start in range(0, len(asked), MAX_QUERIES):
            body = {"iteration": iteration, "queries": asked[start : start + MAX_QUERIES]}
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
        self, name: str, accuracy: float, labels: int, hardest: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Says how well a reward model agrees with the labels, for the results page."""
        body = {"accuracy": accuracy, "labels": labels, "hardest": [dict(h) for h in hardest]}
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

    # how it is said

    def _call(self, method: str, path: str, once: bool = False, **request: Any) -> httpx.Response:
        """One request, made again while the server does not answer.

        Args:
            once: sent a second time it would do something else, so only a server that was never
                reached is tried again.
        """
        pause, waited, told = FIRST_PAUSE, 0.0, False
        while True:
            try:
                reply = self._http.request(method, path, **request)
                if reply.status_code not in _TRY_AGAIN or once:
                    return self._accepted(reply)
                hint = ""
                trouble = f"can't do it now ({_sentence(reply).rstrip('.') or reply.status_code})"
            except httpx.TransportError as error:
                if once and not isinstance(error, httpx.ConnectError):
                    raise UserError(
                        f"The server {self._url} went away; look whether it did what it was asked."
                    ) from None
                _require_tls(self._url, error)
                trouble = "does not answer"
                reached = not isinstance(error, httpx.ConnectError)
                hint = ", though something takes the connection" if reached else ""
            if self._patience is not None and waited >= self._patience:
                raise UserError(
                    f"The labelling server {self._url} {trouble}{hint}; is it running? "
                    "`prefloop label` starts it."
                )
            if not told and self._on_waiting is not None:
                self._on_waiting(f"The labelling server {self._url} {trouble}; waiting for it.")
            told = True
            # many clients that wait for one server should not all come back at once
            self._sleep(pause * random.uniform(0.5, 1))
            waited += pause
            pause = min(2 * pause, LONGEST_PAUSE)

    def _accepted(self, reply: httpx.Response) -> httpx.Response:
        if reply.is_success:
            return reply
        if reply.is_redirect:
            elsewhere = reply.headers.get("location", "elsewhere")
            raise UserError(f"{self._url} sends its visitors to {elsewhere}; give that address.")
        nothing = f"{self._url} is no labelling server: it replied {reply.status_code}."
        raise RefusedError(reply.status_code, _sentence(reply) or nothing)

    def _read(self, reply: httpx.Response, model: type[M]) -> M:
        return self._checked(model, self._json(reply))

    def _json(self, reply: httpx.Response) -> Any:
        try:
            return reply.json()
        except ValueError:
            raise self._none() from None

    def _checked(self, model: type[M], content: Any) -> M:
        try:
            return model.model_validate(content)
        except ValidationError:
            raise self._none() from None

    def _none(self) -> UserError:
        return UserError(
            f"{self._url} is no labelling server, or of a version that this prefloop does not know."
        )


def require_run_name(run: str) -> None:
    """Refuses what no run can be called.

    Raises:
        UserError: says what one is called.
    """
    if not re.fullmatch(RUN_NAME, run):
        raise UserError(
            f"{run!r} won't do: a run is named by letters, digits, dots, dashes and underscores, "
            f"{MAX_NAME} at most."
        )


def _path(run: str) -> str:
    """Where a run is.

    Raises:
        UserError: it can't be called so.
    """
    require_run_name(run)
    return f"/api/runs/{run}"


def _sentence(reply: httpx.Response) -> str:
    """What a labelling server says of what went wrong; empty where it is none."""
    try:
        return str(reply.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return ""


def _require_tls(url: str, error: BaseException | None) -> None:
    """Ends what waiting does not mend: TLS where none is spoken, or a certificate that is not trusted."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            raise UserError(f"{url} has no certificate that holds: {error.verify_message}.")
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            raise UserError(f"{url} speaks no TLS; is its address http://...?")
        error = error.__cause__ or error.__context__
