"""What tests share: settings, an application with a database of its own, a client.

`[tool.pytest_env]` in pyproject.toml has the environment; `servers` the real servers.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from pkgutil import iter_modules

import httpx
import pytest
from fastapi import FastAPI

from app.config import Settings
from app.database import Database
from app.main import create_app
from tests import servers
from tests.asgi import lifespan
from tests.environment import settings_from

PROJECT = Path(__file__).parents[1]

pytest_plugins = [
    "tests.people",
    *(f"tests.servers.{module.name}" for module in iter_modules(servers.__path__)),
]


@pytest.fixture(scope="session", autouse=True)
def _folder_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Work elsewhere: processes in one folder tell each other of what they change."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PROJECT))
        patch.chdir(tmp_path_factory.mktemp("folder"))
        yield


@pytest.fixture
def settings(database_url: str) -> Iterator[Settings]:
    """Yield the settings of the test, which are also those of the process."""
    with settings_from(DATABASE_URL=database_url) as settings:
        yield settings


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """Yield an application that has started."""
    app = create_app(settings)
    async with lifespan(app):
        yield app


@pytest.fixture
def database(app: FastAPI) -> Database:
    database: Database = app.state.database
    return database


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client without credentials."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://service"
    ) as client:
        yield client
