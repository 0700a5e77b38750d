"""What the processes of one service have in common: runs, leases, entity tags."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.cache.engine.entry import entity_tag
from app.config import Settings
from tests.servers import free_port

LEASE, WORKERS = 4, 4  # seconds; processes


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    file = tmp_path / "runs"
    file.touch()
    return file


@pytest.fixture
def service(
    settings: Settings, runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[str]:
    """Serve tests.engine.redis.counted by four processes; yield its URL."""
    monkeypatch.setenv("CACHE_TIMEOUT", "5")  # the machine is busy, not the server
    monkeypatch.setenv("COUNTED_RUNS", str(runs))
    monkeypatch.setenv("COUNTED_LEASE", str(LEASE))
    port, log = str(free_port()), tmp_path / "service.log"
    command = [sys.executable, "-m", "uvicorn", "--factory", "--workers", str(WORKERS)]
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "tests.engine.redis.counted:create_app", "--port", port],
            stdout=output,
            stderr=output,
        )
    deadline = time.monotonic() + 90
    # Who comes later and finds an empty server drops what was begun there before.
    while log.read_text().count("Application startup complete") < WORKERS:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    yield url
    process.terminate()
    process.wait(30)


async def test_processes_run_a_handler_once_and_outlive_the_one_that_runs_it(
    service: str, runs: Path
) -> None:
    """One service for both, since its start takes most of the time."""
    limits = httpx.Limits(max_connections=500)
    async with httpx.AsyncClient(base_url=service, limits=limits, timeout=60) as client:
        calls = (client.get("/counted?seconds=0.5") for _ in range(500))
        answers = await asyncio.gather(*calls)
        assert {answer.status_code for answer in answers} == {200}
        assert len(_processes(runs)) == 1
        # This process has another seed for hash() than each of those.
        tag = entity_tag(answers[0].content, weak=False)
        assert {answer.headers["etag"] for answer in answers} == {tag}

    _forget(runs)
    async with httpx.AsyncClient(base_url=service, limits=limits, timeout=60) as client:
        # The run would take an hour, so what ends at all ends by the lease.
        def ask(times: int) -> asyncio.Future[list[httpx.Response | BaseException]]:
            calls = (client.get("/counted?seconds=3600") for _ in range(times))
            return asyncio.gather(*calls, return_exceptions=True)

        waiting = ask(100)
        os.kill(await asyncio.to_thread(_first_process, runs), signal.SIGKILL)
        later = ask(10)  # the killed one may have had all of those
        found = [*await waiting, *await later]
    served = [answer for answer in found if isinstance(answer, httpx.Response)]
    assert {answer.status_code for answer in served} == {200}
    lost = [error for error in found if isinstance(error, BaseException)]
    assert not any(isinstance(error, httpx.TimeoutException) for error in lost)
    assert len(_processes(runs)) == 2


def _forget(runs: Path) -> None:
    runs.write_text("")


def _processes(runs: Path) -> list[int]:
    """Return the process of each run of the handler."""
    return [int(line) for line in runs.read_text().splitlines()]


def _first_process(runs: Path) -> int:
    """Return who runs the handler, when somebody does."""
    while not (found := _processes(runs)):
        time.sleep(0.01)
    return found[0]
