"""labelling.yaml, and whether the server is well."""

from fastapi import APIRouter, HTTPException

import prefloop
from prefloop.labelling.schemas.base import HealthOut
from prefloop.labelling.schemas.settings import KeyOut, SettingsIn, SettingsOut
from prefloop.labelling.server import config
from prefloop.labelling.server.service import (
    Credentials,
    Service,
    ServiceDep,
    annotators_only,
    trainers_only,
)

router = APIRouter(prefix="/api", tags=["settings"])


@router.get("/health")
def get_health(service: ServiceDep, credentials: Credentials) -> HealthOut:
    """What answers here, and what the token that was sent allows. Needs none."""
    return HealthOut(
        version=prefloop.__version__,
        schema=service.store.schema,
        role=service.role(credentials),
    )


@router.get("/settings", dependencies=[annotators_only])
def get_settings(service: ServiceDep, credentials: Credentials) -> SettingsOut:
    """labelling.yaml, what each key means, and whether who asks may change it."""
    return _settings(service, service.role(credentials) == "trainer")


@router.put("/settings", dependencies=[trainers_only])
def put_settings(changes: SettingsIn, service: ServiceDep) -> SettingsOut:
    """Changes keys of labelling.yaml; 403 where the settings are locked."""
    if service.settings.current.settings_locked:
        raise HTTPException(
            403,
            "The settings are locked; whoever runs the server can unlock them in labelling.yaml.",
        )
    try:
        service.settings.change(changes.model_dump(exclude_unset=True))
    except ValueError as error:
        raise HTTPException(422, f"{error}.") from None
    return _settings(service, True)


def _settings(service: Service, is_trainer: bool) -> SettingsOut:
    current = service.settings.current
    return SettingsOut(
        values=config.as_dict(current),
        keys=[KeyOut.model_validate(key) for key in config.described()],
        may_change=is_trainer and not current.settings_locked,
    )
