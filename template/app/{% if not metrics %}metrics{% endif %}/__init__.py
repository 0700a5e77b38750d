"""The interface of the metrics in a service without them: nothing is counted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.config import Settings

__all__ = ["MIDDLEWARE", "install_metrics", "metrics_lifespan"]

MIDDLEWARE: frozenset[object] = frozenset()


def install_metrics(app: FastAPI, settings: Settings) -> None: ...


@asynccontextmanager
async def metrics_lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
