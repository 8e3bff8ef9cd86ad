"""Runs: what there is to label, and what a user may do with it."""

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Response

from prefloop.envs.settings import CHANGES, from_facts
from prefloop.envs.spaces import Spaces
from prefloop.labelling.schemas.base import RunName
from prefloop.labelling.schemas.runs import (
    ExcludedOut,
    ExcludeIn,
    RenameIn,
    RewardReportIn,
    RunIn,
    RunOut,
)
from prefloop.labelling.server import exporting
from prefloop.labelling.server.pseudonyms import without_names
from prefloop.labelling.server.service import (
    Service,
    ServiceDep,
    VisitorDep,
    annotators_only,
    trainers_only,
)
from prefloop.labelling.server.storage.errors import ConflictError
from prefloop.labelling.server.storage.records import Run, RunFacts

_EXPORTS = CapacityLimiter(1)

router = APIRouter(prefix="/api/runs", tags=["runs"])


def _out(service: Service, run: Run) -> RunOut:
    return RunOut.of(run, service.store.trainings.get(run.name))


def _require_nobody_trains(service: Service, name: str, otherwise: str) -> None:
    training = service.store.trainings.get(name)
    if training is not None and training.is_there:
        raise ConflictError(f"A program trains on the run {name} now; {otherwise}.")


def _zipped(service: Service, name: str, pseudonyms: bool) -> bytes:
    exported = service.store.export(name)
    if pseudonyms:
        exported = without_names(exported, service.pseudonym)
    return exporting.as_zip(exported)


@router.get("", dependencies=[annotators_only])
def list_runs(service: ServiceDep, visitor: VisitorDep) -> list[RunOut]:
    """All runs with their progress, the newest first; annotators are offered none that are archived."""
    runs = service.store.runs.all()
    if visitor.role != "trainer":
        runs = [run for run in runs if run.archived_at is None]
    trainings = service.store.trainings.at_work()
    return [RunOut.of(run, trainings.get(run.id)) for run in runs]


@router.get("/{name}", dependencies=[annotators_only])
def get_run(name: RunName, service: ServiceDep) -> RunOut:
    """One run with its progress."""
    return _out(service, service.store.runs.get(name))


@router.put("/{name}", dependencies=[trainers_only])
def put_run(name: RunName, run: RunIn, service: ServiceDep) -> RunOut:
    """Makes a run, or continues the one of this name; 409 if it is of something else.

    One that was archived is brought back.
    """
    defaults = service.settings.current
    said = run.model_dump(exclude={"env", "env_changes", "spaces", "agents"})
    changes = run.env_changes.model_dump(exclude_none=True) if run.env_changes else {}
    env = from_facts({"env": run.env, CHANGES: changes})
    assert env is not None
    agents = None if run.agents is None else {a.name: a.digest for a in run.agents}
    facts = RunFacts(env, Spaces.from_facts(run.spaces.model_dump()), **said, agents=agents)
    made = service.store.runs.put(name, facts, defaults.annotators_per_query, defaults.repeats)
    return _out(service, made)


@router.post("/{name}/rename", dependencies=[trainers_only])
def rename_run(name: RunName, new: RenameIn, service: ServiceDep) -> RunOut:
    """Gives a run another name."""
    return _out(service, service.store.runs.rename(name, new.name))


@router.post("/{name}/archive", dependencies=[trainers_only])
def archive_run(name: RunName, service: ServiceDep) -> RunOut:
    """Puts a run away: nobody is asked about it any more. 409 while a program trains on it."""
    _require_nobody_trains(service, name, "stop it before the run is archived")
    return _out(service, service.store.runs.archive(name))


@router.post("/{name}/bring-back", dependencies=[trainers_only])
def bring_run_back(name: RunName, service: ServiceDep) -> RunOut:
    """Takes a run out of the archive."""
    return _out(service, service.store.runs.archive(name, False))


@router.delete("/{name}", dependencies=[trainers_only], status_code=204)
def delete_run(name: RunName, service: ServiceDep, although_it_trains: bool = False) -> None:
    """Removes a run with all its labels, for good; 409 while a program trains on it.

    Unless `although_it_trains`: the program then ends with an error.
    """
    if not although_it_trains:
        _require_nobody_trains(service, name, "stop it before the run is deleted")
    service.forget_clips(service.store.runs.delete(name))


@router.post("/{name}/label-again", dependencies=[trainers_only])
def label_run_again(name: RunName, service: ServiceDep) -> RunOut:
    """Asks every query of a run again; the labels so far are kept and no longer count."""
    return _out(service, service.store.runs.label_again(name))


@router.post("/{name}/exclude", dependencies=[trainers_only])
def exclude_annotator(name: RunName, whose: ExcludeIn, service: ServiceDep) -> ExcludedOut:
    """Leaves an annotator's labels out of training, export and agreement; they stay stored."""
    return ExcludedOut(excluded=service.store.runs.exclude(name, whose.annotator))


@router.post("/{name}/include", dependencies=[trainers_only])
def include_annotator(name: RunName, whose: ExcludeIn, service: ServiceDep) -> ExcludedOut:
    """Takes an annotator's labels in again."""
    return ExcludedOut(excluded=service.store.runs.exclude(name, whose.annotator, False))


@router.put("/{name}/reward-report", dependencies=[trainers_only], status_code=204)
def put_reward_report(name: RunName, report: RewardReportIn, service: ServiceDep) -> None:
    """Says how well a reward model agrees with the labels, for the results page."""
    # once everything is asked again, it is of labels that no longer count
    about = {**report.model_dump(mode="json"), "round": service.store.runs.get(name).round}
    service.store.runs.put_reward_report(name, about)


@router.get(
    "/{name}/export",
    dependencies=[trainers_only],
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}},
)
async def export_run(name: RunName, service: ServiceDep, pseudonyms: bool = False) -> Response:
    """The run's labels as a preference dataset, in a zip. One after the other: they take long.

    With `pseudonyms`, nobody is named: the same person is the same in every export of this server.
    """
    data = await to_thread.run_sync(_zipped, service, name, pseudonyms, limiter=_EXPORTS)
    headers = {"content-disposition": f'attachment; filename="{name}.zip"'}
    return Response(data, media_type="application/zip", headers=headers)
