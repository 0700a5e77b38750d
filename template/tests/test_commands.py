"""The commands that know your tables, and a server that is started by one.

The migrations, yours too, go up and down and make what the models say.
"""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.config import Settings
from app.database import migrate
from tests.environment import settings_from
from tests.servers import free_port
from tests.servers.service import API_ADMIN, Run, add_user, refusal, wait_for_start


def test_a_user_is_made_shown_and_banned(run: Run, ada: str) -> None:
    shown = json.loads(run("user", "show", ada, "--json").stdout)
    assert shown["email"] == ada
    assert shown["role"] == "user"
    assert "password" not in str(shown)

    assert run("user", "ban", ada).exit_code == 0
    assert json.loads(run("user", "show", "1", "--json").stdout)["banned"] is True


def test_the_last_admin_is_kept(run: Run) -> None:
    root = add_user(run, "root@example.com", "Grace", "Hopper", "--admin")

    assert "last admin" in refusal(run("user", "ban", root))
    assert "last admin" in refusal(run("user", "delete", root, "--yes"))


def test_a_user_takes_keys_along_when_deleted(run: Run, ada: str) -> None:
    run("keys", "create", ada, "--name", "script")
    assert run("user", "delete", ada, "--yes").exit_code == 0
    assert json.loads(run("keys", "list", "--json").stdout) == []


def test_users_are_made_up_and_listed(run: Run) -> None:
    assert run("db", "populate", "7").exit_code == 0
    listed = json.loads(run("user", "list", "--json").stdout)
    assert [user["id"] for user in listed] == list(range(1, 8))


def test_every_route_is_listed(run: Run) -> None:
    rows = json.loads(run("routes", "--json").stdout)
    assert {"/livez", "/users/me"} <= {row["path"] for row in rows}


def test_a_new_key_works_on_a_server_that_ends_when_told(
    run: Run, ada: str, tmp_path: Path
) -> None:
    key = run("keys", "create", ada, "--name", "script").stdout.strip()
    port = free_port()
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [API_ADMIN, "serve", "--port", str(port)], stdout=output, stderr=output
        ) as process,
    ):
        wait_for_start(process, port, log)
        url = f"http://127.0.0.1:{port}/users/me"
        me = httpx.get(url, headers={"X-API-Key": key})
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    assert me.json()["email"] == ada
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("group", ["db", "env", "keys", "user"])
def test_help_teaches_with_examples(run: Run, group: str) -> None:
    assert f"api-admin {group}" in run(group, "--help").stdout


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Settings]:
    """Yield the settings of a database without tables."""
    with settings_from(DATABASE_URL=empty_database_url) as settings:
        yield settings


def test_migrations_go_all_the_way_up_down_and_up(empty: Settings) -> None:
    assert migrate.current(empty) == ()
    assert migrate.is_behind(empty)
    migrate.upgrade(empty)
    assert migrate.current(empty) == migrate.head_revisions()
    assert not migrate.is_behind(empty)
    migrate.downgrade(empty, "base")
    assert migrate.current(empty) == ()
    migrate.upgrade(empty)
    assert not migrate.has_drift(empty)
