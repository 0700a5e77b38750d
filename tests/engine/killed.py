"""Processes that write, and are killed at a moment that the test names.

`python -m tests.engine.killed service|command before|after ID…` forks one for each of
the users and prints a user's id when his process is dead.
"""

import asyncio
import os
import signal
import sys
from typing import Any

from fastapi import FastAPI
from sqlalchemy import update
from sqlalchemy.engine.default import DefaultDialect

from app.config import get_settings
from app.database import Database
from app.main import create_app
from app.models import User
from tests.asgi import lifespan


def main(writer: str, moment: str, ids: list[int]) -> None:
    _probe(moment)
    app = create_app() if writer == "service" else None
    for user_id in ids:
        pid = os.fork()
        if pid == 0:
            asyncio.run(_write(app, user_id))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), f"the writer of {user_id} was not killed"
        print(user_id, flush=True)


async def _write(app: FastAPI | None, user_id: int) -> None:
    if app is None:
        await _rename(Database(get_settings()), user_id)
        return
    async with lifespan(app):
        await _rename(app.state.database, user_id)


async def _rename(database: Database, user_id: int) -> None:
    async with database.session() as session:
        await session.execute(
            update(User).where(User.id == user_id).values(first_name="Renamed")
        )
        _armed.append(True)


_armed: list[bool] = []


def _probe(moment: str) -> None:
    """Have the process die between its fence and its COMMIT, or right after that.

    The cache stands around the dialect's `do_commit`, so this has to be inside of it.
    """
    original: Any = DefaultDialect.do_commit

    def do_commit(self: DefaultDialect, connection: Any) -> None:
        if _armed and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        original(self, connection)
        if _armed:
            os.kill(os.getpid(), signal.SIGKILL)

    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], [int(user_id) for user_id in sys.argv[3:]])
