"""How an application gets its metrics."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from app.config import Settings
from app.errors import StartupError
from app.metrics.cache import CacheNumbers
from app.metrics.middleware import RequestMetrics
from app.metrics.numbers import numbers

PAUSE = 1.0  # seconds between two looks at what is held


def install_metrics(app: FastAPI, settings: Settings) -> None:
    """Count requests and answer /metrics; nothing without METRICS_TOKEN."""
    token = settings.metrics_token.get_secret_value()
    if token:
        try:
            made = numbers()
        except OSError as error:
            raise StartupError(
                f"METRICS_TOKEN is set, but data/metrics cannot be written: {error}"
            ) from error
        cache = app.state.cache_numbers = CacheNumbers(app, made)
        app.add_middleware(RequestMetrics, numbers=made, cache=cache, token=token)


@asynccontextmanager
async def metrics_lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Look at what this process holds, for those who ask another one."""
    cache: CacheNumbers | None = getattr(app.state, "cache_numbers", None)
    if cache is None:
        yield
        return
    cache.begin()
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
