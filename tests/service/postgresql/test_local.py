"""The development server: each service has its own."""

from pathlib import Path

import pytest
from sqlalchemy import URL

from app.database.local import local_server, prepare_local_database
from app.database.migrate import is_behind
from app.errors import StartupError
from tests.environment import settings_from
from tests.servers import free_port


@pytest.fixture
def other_url(server_url: URL) -> URL:
    """Return the URL under which this service would find another one's server."""
    if server_url.host != "127.0.0.1":
        pytest.skip("TEST_DATABASE_URL names a server that is not on this machine")
    return server_url.set(password="of-this-service")


def test_two_services_run_side_by_side(other_url: URL, tmp_path: Path) -> None:
    own = other_url.set(port=free_port())
    with local_server(tmp_path, own, temporary=True) as started:
        assert started
        with local_server(tmp_path, own, temporary=True) as started_again:
            assert not started_again


def test_the_port_of_another_server_is_refused(other_url: URL, tmp_path: Path) -> None:
    with (
        pytest.raises(StartupError, match=f"DATABASE_URL.*:{other_url.port}"),
        local_server(tmp_path, other_url),
    ):
        pass


def test_a_server_that_lets_nobody_in_may_be_another_services(other_url: URL) -> None:
    url = other_url.render_as_string(hide_password=False)
    with (
        pytest.raises(StartupError, match="change the port in DATABASE_URL") as refusal,
        settings_from(ENVIRONMENT="development", DATABASE_URL=url) as settings,
        prepare_local_database(settings),
    ):
        is_behind(settings)
    assert "of-this-service" not in str(refusal.value)
