"""labelling.yaml, and whether the server is well."""

from collections.abc import Mapping

from fastapi import APIRouter, HTTPException, Response

import prefloop
from prefloop.labelling.schemas.base import HealthOut, RunName
from prefloop.labelling.schemas.settings import (
    KeyOut,
    RunSettingsIn,
    RunSettingsOut,
    SettingsIn,
    SettingsOut,
)
from prefloop.labelling.server import config
from prefloop.labelling.server.service import (
    Service,
    ServiceDep,
    VisitorDep,
    annotators_only,
    trainers_only,
)

router = APIRouter(prefix="/api", tags=["settings"])


@router.get("/health")
def get_health(service: ServiceDep, visitor: VisitorDep, response: Response) -> HealthOut:
    """What answers here, and what the token that was sent allows. Needs none."""
    role = visitor.role
    if role is None:
        # by which tokens that are tried are counted
        response.headers["www-authenticate"] = "Bearer"
    return HealthOut(
        version=prefloop.__version__,
        schema=service.store.schema,
        role=role,
        languages=list(service.languages),
    )


@router.get("/settings", dependencies=[annotators_only])
def get_settings(service: ServiceDep, visitor: VisitorDep) -> SettingsOut:
    """labelling.yaml, what each key means, and whether who asks may change it."""
    return _settings(service, visitor.role == "trainer")


@router.put("/settings", dependencies=[trainers_only])
def put_settings(changes: SettingsIn, service: ServiceDep) -> SettingsOut:
    """Changes keys of labelling.yaml; 403 where the settings are locked."""
    _require_unlocked(service)
    try:
        service.settings.change(changes.model_dump(exclude_unset=True))
    except ValueError as error:
        raise HTTPException(422, f"{error}.") from None
    return _settings(service, True)


@router.get("/runs/{name}/settings", dependencies=[annotators_only])
def get_run_settings(name: RunName, service: ServiceDep, visitor: VisitorDep) -> RunSettingsOut:
    """What holds for a run: labelling.yaml, and what was set for this run alone."""
    own = service.store.runs.own_settings(name)
    return _run_settings(service, own, visitor.role == "trainer")


@router.put("/runs/{name}/settings", dependencies=[trainers_only])
def put_run_settings(name: RunName, changes: RunSettingsIn, service: ServiceDep) -> RunSettingsOut:
    """Sets keys of labelling.yaml for one run, null as the file says; 403 where they are locked."""
    _require_unlocked(service)
    said = changes.model_dump(exclude_unset=True)
    try:
        config.for_run(service.settings.current, {k: v for k, v in said.items() if v is not None})
    except ValueError as error:
        raise HTTPException(422, f"{error}.") from None
    return _run_settings(service, service.store.runs.set_own(name, said).own_settings, True)


def _require_unlocked(service: Service) -> None:
    if service.settings.current.settings_locked:
        raise HTTPException(
            403,
            "The settings are locked; whoever runs the server can unlock them in labelling.yaml.",
        )


def _run_settings(service: Service, own: Mapping[str, float], is_trainer: bool) -> RunSettingsOut:
    current = service.settings.current
    everywhere = config.as_dict(current)
    return RunSettingsOut(
        values=config.as_dict(config.for_run(current, own)),
        own=dict(own),
        everywhere={key: everywhere[key] for key in config.OF_RUNS},
        keys=[
            KeyOut.model_validate(key) for key in config.described() if key["key"] in config.OF_RUNS
        ],
        may_change=is_trainer and not current.settings_locked,
        locked=current.settings_locked,
    )


def _settings(service: Service, is_trainer: bool) -> SettingsOut:
    current = service.settings.current
    return SettingsOut(
        values=config.as_dict(current),
        keys=[KeyOut.model_validate(key) for key in config.described()],
        may_change=is_trainer and not current.settings_locked,
    )
