"""The migrations, yours too, go up and down and make what the models say."""

from collections.abc import Iterator

import pytest

from app.config import Settings
from app.database import migrate, revisions
from tests.environment import settings_from


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Settings]:
    """Yield the settings of a database without tables."""
    with settings_from(DATABASE_URL=empty_database_url) as settings:
        yield settings


def test_all_the_way_up_down_and_up(empty: Settings) -> None:
    assert migrate.current(empty) == ()
    assert migrate.is_behind(empty)
    migrate.upgrade(empty)
    assert migrate.current(empty) == tuple(revisions.head_revisions())
    assert not migrate.is_behind(empty)
    migrate.downgrade(empty, "base")
    assert migrate.current(empty) == ()
    migrate.upgrade(empty)
    assert not migrate.has_drift(empty)
