"""The commands that know your tables, and a server that is started by one."""

import json
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.servers import free_port
from tests.servers.service import API_ADMIN, Run, add_user, refusal


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
        log.open("w") as output,
        subprocess.Popen(
            [API_ADMIN, "serve", "--port", str(port)], stdout=output, stderr=output
        ) as process,
    ):
        transport = httpx.HTTPTransport(retries=100)
        url = f"http://127.0.0.1:{port}/users/me"
        with httpx.Client(transport=transport) as client:
            me = client.get(url, headers={"X-API-Key": key})
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    assert me.json()["email"] == ada
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("group", ["db", "env", "keys", "user"])
def test_help_teaches_with_examples(run: Run, group: str) -> None:
    assert f"api-admin {group}" in run(group, "--help").stdout
