"""The session of a request."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from app.cache import provider
from app.database.engine import Database

READING = ("GET", "HEAD", "OPTIONS")


@provider
async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    """Yield the request's session, which is committed before the response is sent.

    An error rolls it back; what must stay although the request is refused has to be
    committed before the error is raised.
    """
    database: Database = request.app.state.database
    async with database.session(writes=request.method not in READING) as session:
        yield session


# The scope: else FastAPI runs the commit after the response was sent.
SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]
