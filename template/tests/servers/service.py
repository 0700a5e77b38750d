"""The service itself, as processes of its own."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.config import Settings
from tests.ports import free_port

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
        deadline = time.monotonic() + 60
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text())
            time.sleep(0.02)
        return f"http://127.0.0.1:{port}"

    yield run
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(60)


@pytest.fixture
def server(settings: Settings, run_service: Callable[..., str]) -> str:
    """Return the URL of a process that serves the API on the test's database."""
    return run_service("--host", settings.host)


def _answers(port: int) -> bool:
    """Return whether somebody listens: uvicorn does when the application is ready."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
