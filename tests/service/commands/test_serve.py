"""api-admin serve, as a process of its own."""

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app.commands.serve import address, look_who_can_read
from app.config import Settings, get_settings
from app.database import Database
from app.errors import StartupError
from tests.environment import settings_from
from tests.servers import free_port
from tests.servers.service import Run, refusal

API_ADMIN = Path(sys.executable).with_name("api-admin")


def refused(*options: str, **environment: str) -> str:
    """Return the one line with which the server did not start."""
    ended = subprocess.run(
        [API_ADMIN, "serve", *options],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    (line,) = ended.stderr.splitlines()
    return line


@pytest.mark.usefixtures("settings")
class TestRefusal:
    def test_names_the_port_that_is_taken(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = str(listener.getsockname()[1])

            assert f"Port {port} on 127.0.0.1 is taken" in refused("--port", port)

    def test_names_the_value_that_is_wrong(self) -> None:
        line = refused("--port", "70000")
        assert "PORT=" in line
        assert "65535" in line

    def test_names_the_host_that_is_not_here(self) -> None:
        assert "192.0.2.1" in refused("--host", "192.0.2.1")

    def test_names_a_weak_key_without_showing_it(self) -> None:
        line = refused(SECRET_KEY="hunter2")
        assert "SECRET_KEY" in line
        assert "hunter2" not in line

    def test_names_the_database_that_is_not_there(self) -> None:
        url = "sqlite+aiosqlite:////proc/none/app.db"
        line = refused("--port", str(free_port()), DATABASE_URL=url)
        assert "/proc/none" in line


def test_of_several_processes_none_starts_when_one_could_not(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(database: Database) -> None:
        raise StartupError("The table users is gone")

    monkeypatch.setattr("app.main.require_ready", refuse)
    monkeypatch.setattr("app.cache.check_workers", lambda *_: None)
    monkeypatch.setenv("PORT", str(free_port()))
    monkeypatch.setenv("WORKERS", "2")
    get_settings.cache_clear()

    assert "The table users is gone" in refusal(run("serve"))


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_until_it_is_told_to_stop(
    number: signal.Signals, tmp_path: Path
) -> None:
    port = free_port()
    command = [str(API_ADMIN), "serve", "--port", str(port)]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == f"API docs: http://127.0.0.1:{port}/docs\n"
        _wait_for(f"http://127.0.0.1:{port}/livez", process)
        process.send_signal(number)

        assert process.wait(60) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.usefixtures("settings")
def test_names_no_documentation_that_is_not_served() -> None:
    port = free_port()
    with subprocess.Popen(
        [API_ADMIN, "serve", "--port", str(port)],
        env=os.environ
        | {"ENVIRONMENT": "production", "SECRET_KEY": secrets.token_hex(32)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"Serving http://127.0.0.1:{port}\n"
        process.terminate()


def test_a_request_that_never_ends_does_not_keep_it_running(
    settings: Settings, tmp_path: Path
) -> None:
    port = free_port()
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [API_ADMIN, "serve", "--port", str(port)],
            env=os.environ | {"SHUTDOWN_TIMEOUT": "1"},
            stdout=log,
            stderr=log,
            text=True,
        ) as process,
    ):
        _wait_for(f"http://127.0.0.1:{port}/livez", process)
        with socket.create_connection((settings.host, port)) as stalled:
            stalled.sendall(
                b"POST /login/ HTTP/1.1\r\nHost: service\r\nContent-Length: 9\r\n"
                b"Content-Type: application/json\r\nExpect: 100-continue\r\n\r\n"
            )
            assert stalled.recv(100).startswith(b"HTTP/1.1 100")  # it waits for more
            process.terminate()

            assert process.wait(30) == 0


@pytest.mark.usefixtures("settings")
def test_reloads_only_with_one_process(run_service: Callable[..., str]) -> None:
    ended = subprocess.run(
        [API_ADMIN, "serve", "--reload", "--workers", "2"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 2

    assert httpx.get(run_service("--reload") + "/livez").status_code == 200


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104
        ("::", "http://[::1]:8000"),
        ("fe80::1", "http://[fe80::1]:8000"),
        ("localhost", "http://localhost:8000"),
    ],
)
def test_shows_an_address_that_can_be_opened(host: str, url: str) -> None:
    assert address(host, 8000) == url


def _wait_for(url: str, process: subprocess.Popen[str]) -> None:
    transport = httpx.HTTPTransport(retries=100)
    with httpx.Client(transport=transport) as client:
        assert process.poll() is None
        assert client.get(url).status_code == 200


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such rights")
@pytest.mark.parametrize("environment", ["development", "production"])
def test_what_others_can_read_is_closed_in_development_and_named_in_production(
    environment: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ".env"
    file.touch(0o600)
    file.chmod(0o644)
    monkeypatch.setenv("ENV_FILE", ".env")
    with settings_from(
        ENVIRONMENT=environment, DATABASE_URL="sqlite:///data/app.db"
    ) as settings:
        look_who_can_read(settings)
    said = capsys.readouterr().err
    closed = environment == "development"
    assert file.stat().st_mode & 0o777 == (0o600 if closed else 0o644)
    assert said.startswith("Closed to" if closed else "Other users")
    assert ".env" in said
