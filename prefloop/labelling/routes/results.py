"""What a run's labels say of its annotators, and what the reward model makes of them."""

from collections.abc import Sequence
from dataclasses import asdict

from fastapi import APIRouter

from prefloop.labelling import results
from prefloop.labelling.schemas.annotate import SideOut
from prefloop.labelling.schemas.base import RunName
from prefloop.labelling.schemas.results import HardPairOut, ResultsOut, RewardReportOut, SaidOut
from prefloop.labelling.schemas.runs import RewardReportIn
from prefloop.labelling.service import ServiceDep, annotators_only
from prefloop.labelling.storage.records import Event, Run
from prefloop.labelling.storage.store import Store

router = APIRouter(prefix="/api", tags=["results"])


@router.get("/runs/{name}/results", dependencies=[annotators_only])
def get_results(name: RunName, service: ServiceDep) -> ResultsOut:
    """Labels over time and per annotator, agreement, seconds, and the reward model's accuracy."""
    run = service.store.runs.get(name)
    labels = service.store.labels.current(name)
    found = asdict(results.results(labels))
    reward = _reward_report(service.store, run, labels)
    return ResultsOut.model_validate({**found, "reward": reward})


def _reward_report(store: Store, run: Run, labels: Sequence[Event]) -> RewardReportOut | None:
    """The report with the pairs as they are shown; None if it judged labels of an earlier round."""
    stored = dict(run.reward_report or {})
    if not stored or stored.pop("round", run.round) != run.round:
        return None
    report = RewardReportIn.model_validate(stored)
    sides = store.queue.sides(run.name, [hard.query for hard in report.hardest])
    hardest = [
        HardPairOut(
            query=hard.query,
            label=hard.label,
            probability=hard.probability,
            first=SideOut.of(sides[hard.query][0]),
            second=SideOut.of(sides[hard.query][1]),
            said=[SaidOut.of(event) for event in labels if event.query == hard.query],
        )
        for hard in report.hardest
        if hard.query in sides
    ]
    return RewardReportOut(accuracy=report.accuracy, labels=report.labels, hardest=hardest)
