"""A service whose numbers a test may read."""

from collections.abc import Iterator

import pytest

from app.config import Settings
from tests.environment import settings_from
from tests.metrics import TOKEN


@pytest.fixture
def settings(database_url: str) -> Iterator[Settings]:
    with settings_from(DATABASE_URL=database_url, METRICS_TOKEN=TOKEN) as settings:
        yield settings
