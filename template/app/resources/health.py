from fastapi import APIRouter, Request, Response
from sqlalchemy.exc import SQLAlchemyError

from app.cache import cache_health
from app.database import Database
from app.errors import reason
from app.logs import DATABASE
from app.resources.dependencies import ANYONE
from app.schemas.health import Live, PartHealth, Readiness

router = APIRouter(tags=["health"], dependencies=[ANYONE])

# Seconds that a part has to answer in.
PATIENCE = 2.0


@router.get("/livez", summary="Is the process alive?")
async def livez() -> Live:
    return Live()


@router.get(
    "/readyz",
    summary="Can it serve requests?",
    responses={503: {"model": Readiness, "description": "The database is down"}},
)
async def readyz(request: Request, response: Response) -> Readiness:
    """Without the database nothing works; without the cache everything does, slower."""
    database: Database = request.app.state.database
    parts = {"database": await _database_health(database)}
    cache = await cache_health(request.app)
    if cache is not None:
        parts["cache"] = PartHealth.model_validate(cache)
    if parts["database"].status == "down":
        response.status_code = 503
        return Readiness(status="down", parts=parts)
    whole = all(part.status == "ok" for part in parts.values())
    return Readiness(status="ok" if whole else "degraded", parts=parts)


async def _database_health(database: Database) -> PartHealth:
    try:
        latency = await database.check(PATIENCE)
    except (SQLAlchemyError, OSError) as error:
        DATABASE.error("GET /readyz: %s", reason(error))
        return PartHealth(status="down")
    return PartHealth(status="ok", latency_ms=round(latency * 1000, 2))
