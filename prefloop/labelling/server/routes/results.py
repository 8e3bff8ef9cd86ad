"""What a run's labels say of its annotators, and what the reward model makes of them."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from uuid import UUID

from fastapi import APIRouter

from prefloop.labelling.schemas.annotate import SideOut
from prefloop.labelling.schemas.base import RunName
from prefloop.labelling.schemas.results import (
    HardPairOut,
    ResultsOut,
    RewardReportOut,
    SaidOut,
    TraceOut,
)
from prefloop.labelling.schemas.runs import RewardReportIn, TraceIn
from prefloop.labelling.server import results
from prefloop.labelling.server.service import Service, ServiceDep, annotators_only
from prefloop.labelling.server.storage.records import Event, Run, Side

router = APIRouter(prefix="/api", tags=["results"])


@router.get("/runs/{name}/results", dependencies=[annotators_only])
def get_results(name: RunName, service: ServiceDep) -> ResultsOut:
    """Labels over time and per annotator, agreement, seconds, and the reward model's accuracy."""
    run = service.store.runs.get(name)
    labels = service.store.labels.current(name)
    found = asdict(results.results(labels, service.store.runs.excluded(name)))
    reward = _reward_report(service, run, labels)
    return ResultsOut.model_validate({**found, "reward": reward})


def _reward_report(service: Service, run: Run, labels: Sequence[Event]) -> RewardReportOut | None:
    """The report with the pairs as they are shown; None if it judged labels of an earlier round."""
    stored = dict(run.reward_report or {})
    if not stored or stored.pop("round", run.round) != run.round:
        return None
    report = RewardReportIn.model_validate(stored)
    pairs = service.store.queue.sides(run.name, [hard.query for hard in report.hardest])
    sides = _looked_at(service, {side for pair in pairs.values() for side in pair})
    hardest = [
        HardPairOut(
            query=hard.query,
            label=hard.label,
            probability=hard.probability,
            first=SideOut.of(sides[pairs[hard.query][0].segment]),
            second=SideOut.of(sides[pairs[hard.query][1].segment]),
            first_reward=_trace(hard.first_reward),
            second_reward=_trace(hard.second_reward),
            said=[SaidOut.of(event) for event in labels if event.query == hard.query],
        )
        for hard in report.hardest
        if hard.query in pairs
    ]
    return RewardReportOut(
        accuracy=report.accuracy, labels=report.labels, hardest=hardest, trust=report.trust
    )


def _trace(told: TraceIn | None) -> TraceOut | None:
    return TraceOut.model_validate(told) if told is not None else None


def _looked_at(service: Service, sides: Iterable[Side]) -> dict[UUID, Side]:
    """Sides by their segments. A clip whose file is gone is as good as none, and is made again.

    One that was sent can't be: its address stays, and says that it is gone.
    """
    found = {side.segment: side for side in sides}
    service.want_clips(found)
    gone = {s for s in found.values() if s.clip and service.clips.path(s.clip) is None}
    sent = service.store.segments.sent_clips() if gone else set()
    again = {s.segment: replace(s, clip=None) for s in gone if s.clip not in sent}
    return {**found, **again}
