"""A service that counts, and a browser before its pages."""

from collections.abc import Iterator

import httpx
import pytest

from app.config import Settings
from tests.environment import settings_from
from tests.metrics.conftest import serve
from tests.metrics.scraped import TOKEN
from tests.pages.browser import Browser

__all__ = ["serve"]


@pytest.fixture
def settings(database_url: str) -> Iterator[Settings]:
    with settings_from(DATABASE_URL=database_url, METRICS_TOKEN=TOKEN) as settings:
        yield settings


@pytest.fixture
def browser(client: httpx.AsyncClient) -> Browser:
    return Browser(client)
