"""What a statement and a commit cost more with the cache on, in microseconds.

Run it with the Python of a rendered service, in its folder:

    PYTHONPATH=. .venv/bin/python …/benchmarks/writes.py

Two engines on one database in memory take turns; one of them is watched. The rest of a
statement's time is SQLite's, which is the least that a database can take.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

os.environ |= {"CACHE_ENABLED": "true", "LOG_CATEGORIES": "NONE"}
if "SECRET_KEY" not in os.environ:
    os.environ["SECRET_KEY"] = os.urandom(32).hex()

from fastapi import FastAPI
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import StaticPool

from app.cache import cache_lifespan, install_cache, watch_commits
from app.cache.engine.cache import Reading, reading_now
from app.config import get_settings
from app.database import Base
from app.models import User

ROUNDS, REPEATS = 60, 50
Work = Callable[[AsyncSession, int], Awaitable[Any]]


async def a_select(session: AsyncSession, number: int) -> None:
    await session.execute(select(User.first_name).where(User.id == 1 + number % 5))


async def an_update(session: AsyncSession, number: int) -> None:
    changed = update(User).where(User.id == 1 + number % 5)
    await session.execute(
        changed.values(first_name=f"{number}"),
        execution_options={"synchronize_session": False},
    )


async def a_flush(session: AsyncSession, number: int) -> None:
    (await session.get_one(User, 1)).first_name = f"{number}"
    await session.flush()


async def a_transaction(session: AsyncSession, number: int) -> None:
    await a_select(session, number)
    await session.commit()


async def a_transaction_that_writes(session: AsyncSession, number: int) -> None:
    await an_update(session, number)
    await session.commit()


async def timed(sessions: Any, work: Work) -> float:
    async with sessions() as session:
        await work(session, 0)
        start = time.perf_counter()
        for number in range(REPEATS):
            await work(session, number)
        return (time.perf_counter() - start) / REPEATS * 1e6


async def main() -> None:
    settings = get_settings()
    both = []
    for watched in (False, True):
        engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        if watched:
            watch_commits(engine, Base.metadata, settings)
        sessions = async_sessionmaker(engine, expire_on_commit=False)
        async with sessions.begin() as session:
            names = {"first_name": "", "last_name": "", "password_hash": ""}
            session.add_all(User(email=f"{n}@x.y", **names) for n in range(5))
        both.append(sessions)
    app = FastAPI()
    install_cache(app, settings)
    async with cache_lifespan(app, settings):
        reading_now.set(Reading())
        works = (a_select, an_update, a_flush, a_transaction, a_transaction_that_writes)
        for work in works:
            rounds = [[await timed(s, work) for s in both] for _ in range(ROUNDS)]
            plain, watched_ = (
                statistics.median(each) for each in zip(*rounds, strict=True)
            )
            more = statistics.median(there - here for here, there in rounds)
            print(f"{work.__name__:28}{plain:8.0f}{watched_:8.0f}  + {more:.0f} µs")


asyncio.run(main())
