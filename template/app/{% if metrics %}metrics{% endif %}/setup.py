"""How an application gets its metrics."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from app.config import Settings
from app.errors import StartupError
from app.metrics.cache import CacheNumbers
from app.metrics.middleware import Counted, RequestMetrics
from app.metrics.numbers import numbers

PAUSE = 1.0  # seconds between two looks at what is held


def install_metrics(app: FastAPI, settings: Settings) -> None:
    """Count requests and answer /metrics; nothing without METRICS_TOKEN."""
    token = settings.metrics_token.get_secret_value()
    if token:
        app.state.counted = None
        app.add_middleware(RequestMetrics, state=app.state, token=token)


@asynccontextmanager
async def metrics_lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Count while the application runs: its cache has to be open.

    Raises StartupError where the numbers cannot be written.
    """
    if not hasattr(app.state, "counted"):
        yield
        return
    try:
        made = numbers()
    except OSError as error:
        raise StartupError(
            f"METRICS_TOKEN is set, but data/metrics cannot be written: {error}"
        ) from error
    cache = CacheNumbers(app, made)
    cache.begin()
    app.state.counted = Counted(made, cache)
    looking = asyncio.create_task(_look(cache), name="metrics")
    try:
        yield
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        cache.look()


async def _look(cache: CacheNumbers) -> None:
    while True:
        cache.look()
        await asyncio.sleep(PAUSE)
