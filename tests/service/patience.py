"""How long these tests wait: the machine may be busy, or stand still for a while."""

import inspect
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.database import migrate

SECONDS = 60.0


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """Let a start, and each client that says nothing of it, wait for so long."""
    usual: Any = inspect.signature(httpx.Client).parameters["timeout"].default
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, "PATIENCE", SECONDS)
        for what in ("connect", "read", "write", "pool"):
            patch.setattr(usual, what, SECONDS)
        yield
