"""What a run's labels say of its annotators."""

from dataclasses import asdict

from fastapi import APIRouter

from prefloop.labelling import results
from prefloop.labelling.schemas import ResultsOut, RunName
from prefloop.labelling.service import ServiceDep, annotators_only

router = APIRouter(prefix="/api", tags=["results"])


@router.get("/runs/{name}/results", dependencies=[annotators_only])
def get_results(name: RunName, service: ServiceDep) -> ResultsOut:
    """Labels over time and per annotator, agreement, seconds, and the reward model's accuracy."""
    run = service.store.runs.get(name)
    found = results.results(service.store.labels.current(name))
    return ResultsOut.model_validate({**asdict(found), "reward": run.reward_report})
