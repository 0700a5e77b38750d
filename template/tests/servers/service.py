"""The service from outside: as processes of its own, and by its command line."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from typer.testing import CliRunner, Result

from app import commands
from app.config import Settings
from tests.servers import free_port

API_ADMIN = Path(sys.executable).with_name("api-admin")


@pytest.fixture
def run_service(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Yield a function that serves the API over HTTP and returns its URL.

    Its arguments are options of `api-admin serve`, and the folder where it runs.
    """
    processes: list[subprocess.Popen[bytes]] = []

    def run(*options: str, cwd: Path | None = None) -> str:
        port = free_port()
        log = tmp_path / f"service{len(processes)}.log"
        command = [str(API_ADMIN), "serve", "--port", str(port), *options]
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=cwd, stdout=output, stderr=output)
        processes.append(process)
        wait_for_start(process, port, log)
        return f"http://127.0.0.1:{port}"

    yield run
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(60)


def wait_for_start(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return when the process listens; raise what it said if it has ended."""
    deadline = time.monotonic() + 60
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(log.read_text())
        time.sleep(0.02)


@pytest.fixture
def server(settings: Settings, run_service: Callable[..., str]) -> str:
    """Return the URL of a process that serves the API on the test's database."""
    return run_service("--host", settings.host)


class Run(Protocol):
    """Runs `api-admin` with these arguments and `input` in a stdin that is a pipe."""

    def __call__(self, *arguments: str, input: str = "") -> Result: ...


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command in this process, on the test's database."""
    for variable in ("COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)

    def run(*arguments: str, input: str = "") -> Result:
        return CliRunner().invoke(
            commands.app,
            arguments,
            input=input,
            catch_exceptions=False,
            prog_name="api-admin",
        )

    return run


@pytest.fixture
def ada(run: Run) -> str:
    """Return the address of a user whose id is 1."""
    return add_user(run, "ada@example.com", "Ada", "Lovelace")


def add_user(run: Run, email: str, first_name: str, last_name: str, *more: str) -> str:
    result = run(
        *("user", "create", "--email", email, "--password-stdin"),
        *("--first-name", first_name, "--last-name", last_name, *more),
        input="correct horse battery staple\n",
    )
    assert result.exit_code == 0, result.output
    return email


def refusal(result: Result) -> str:
    """Return the one line with which a command refused."""
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def _answers(port: int) -> bool:
    """Return whether somebody listens: uvicorn does when the application is ready."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
