"""Arenas: how the agents are ranked. Nothing that annotators may ask for names one."""

from fastapi import APIRouter

from prefloop.labelling.schemas.arena import RankingOut
from prefloop.labelling.schemas.base import RunName
from prefloop.labelling.server.arena import ranking
from prefloop.labelling.server.service import ServiceDep, trainers_only

router = APIRouter(prefix="/api", tags=["results"])


@router.get("/runs/{name}/ranking", dependencies=[trainers_only])
def get_ranking(name: RunName, service: ServiceDep) -> RankingOut:
    """The agents of an arena, ranked by all votes; 404 where the run is none."""
    return RankingOut.model_validate(ranking(*service.store.votes(name)))
