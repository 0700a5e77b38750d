"""Processes that write, and are killed at a moment that the test names.

`python -m tests.engine.killed service|command before|after ID…` forks one for each of
the users and prints a user's id when his process is dead.
"""

import asyncio
import os
import signal
import sys

from fastapi import FastAPI
from sqlalchemy import event, update

from app.config import get_settings
from app.database import Database
from app.main import create_app
from app.models import User
from tests.asgi import lifespan


def main(writer: str, moment: str, ids: list[int]) -> None:
    app = create_app() if writer == "service" else None
    for user_id in ids:
        pid = os.fork()
        if pid == 0:
            asyncio.run(_write(app, moment, user_id))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), f"the writer of {user_id} was not killed"
        print(user_id, flush=True)


async def _write(app: FastAPI | None, moment: str, user_id: int) -> None:
    if app is None:
        await _rename(Database(get_settings()), moment, user_id)
        return
    async with lifespan(app):
        await _rename(app.state.database, moment, user_id)


async def _rename(database: Database, moment: str, user_id: int) -> None:
    async with database.session() as session:
        await session.execute(
            update(User).where(User.id == user_id).values(first_name="Renamed")
        )
        sync = session.sync_session
        if moment == "before":
            event.listen(sync.connection(), "commit", _die)
        else:
            # Before the listener of the cache, which invalidates.
            event.listen(type(sync), "after_commit", _die, insert=True)


def _die(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], [int(user_id) for user_id in sys.argv[3:]])
