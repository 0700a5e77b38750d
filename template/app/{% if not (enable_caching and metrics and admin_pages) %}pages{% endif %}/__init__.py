"""The interface of the pages in a service without them: there are none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

__all__ = ["install_pages", "pages_lifespan"]


def install_pages(app: FastAPI) -> None: ...


@asynccontextmanager
async def pages_lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
