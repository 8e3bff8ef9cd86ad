"""Trainers at work, as their runs' pages show them."""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from prefloop.labelling.schemas.base import RunName
from prefloop.labelling.schemas.results import TraceOut
from prefloop.labelling.schemas.trainings import (
    TracesIn,
    TrainingIn,
    TrainingOut,
    WishesOut,
    WishIn,
)
from prefloop.labelling.server.routes.training import BINARY
from prefloop.labelling.server.service import ServiceDep, annotators_only, trainers_only
from prefloop.labelling.server.storage.trainings import Training

router = APIRouter(prefix="/api/runs/{name}/training", tags=["training"])


def _shown(training: Training) -> TrainingOut:
    return TrainingOut.model_validate(
        {
            **training.state,
            "heard_seconds": training.heard.total_seconds(),
            "is_there": training.is_there,
            "wishes": training.wishes,
            "video_url": f"/clips/{training.video}.mp4" if training.video else None,
        }
    )


@router.put("", dependencies=[trainers_only])
def put_training(name: RunName, told: TrainingIn, service: ServiceDep) -> WishesOut:
    """Says what a trainer does now; the reply is what people wish of it."""
    state = told.model_dump(mode="json", exclude={"trainer", "begins"})
    training = service.store.trainings.tell(name, told.trainer, state, told.begins)
    return WishesOut(**training.wishes)


@router.get("", dependencies=[annotators_only])
def get_training(name: RunName, service: ServiceDep) -> TrainingOut | None:
    """What a run's trainer last said; null where there never was one."""
    found = service.store.trainings.get(name)
    return None if found is None else _shown(found)


@router.post("/wishes", dependencies=[trainers_only])
def wish(name: RunName, wished: WishIn, service: ServiceDep) -> TrainingOut:
    """Has the trainer pause, go on, ask at once, or stop and keep what was learned."""
    return _shown(service.store.trainings.wish(name, wished.wish))


@router.put("/traces", dependencies=[trainers_only], status_code=204)
def put_traces(name: RunName, told: TracesIn, service: ServiceDep) -> None:
    """Says what the reward is of each step of segments that are asked about."""
    service.store.trainings.put_traces(name, told.model_dump(mode="json")["traces"])


@router.get("/traces", dependencies=[annotators_only])
def get_traces(name: RunName, service: ServiceDep) -> dict[str, TraceOut]:
    """What the reward is of each step of segments, by their ids, as far as it was said."""
    traces = service.store.trainings.traces(name)
    return {id: TraceOut.model_validate(trace) for id, trace in traces.items()}


@router.put("/video", dependencies=[trainers_only], status_code=204, openapi_extra=BINARY)
async def put_video(name: RunName, request: Request, service: ServiceDep) -> None:
    """Stores a video of the policy from a fixed start, in place of the one before: H.264 in MP4."""
    data = await request.body()

    def store() -> None:
        digest = service.clips.put(data, service.room_for_clips())
        before = service.store.trainings.put_video(name, digest)
        service.forget_clips([before] if before else [])

    await run_in_threadpool(store)
