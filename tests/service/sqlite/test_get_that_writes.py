import asyncio

import httpx
from fastapi import FastAPI

from app.database import Database, SessionDep
from app.errors import install_error_handlers
from app.models import User
from tests.service.database.test_engine import somebody


async def test_a_get_that_writes_gets_through_or_is_told_why(
    database: Database,
) -> None:
    user = somebody(1)
    async with database.session() as session:
        session.add(user)
    app = FastAPI()
    app.state.database = database
    install_error_handlers(app)
    both = asyncio.Barrier(2)

    @app.get("/seen")
    async def seen(session: SessionDep) -> None:
        visited = await session.get_one(User, user.id)
        await both.wait()
        visited.last_name += "x"

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answers = await asyncio.gather(client.get("/seen"), client.get("/seen"))

    done, refused = sorted(answers, key=lambda answer: answer.status_code)
    assert (done.status_code, refused.status_code) == (200, 503)
    assert "only POST, PUT, PATCH and DELETE wait" in refused.json()["detail"]
