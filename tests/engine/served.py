"""A service in processes of its own, whose numbers a test reads."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.servers import free_port

CLOSE = {"Connection": "close"}  # the next request may reach another process
PATIENCE = 60.0  # seconds


@contextmanager
def served(factory: str, workers: int, folder: Path) -> Iterator[str]:
    """Serve in the folder; yield the URL when somebody listens."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", factory]
    options = [f"--port={port}", f"--workers={workers}", "--log-level=warning"]
    with subprocess.Popen([*command, *options], cwd=folder) as running:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            running.terminate()
            running.wait(PATIENCE)


async def all_there(client: httpx.AsyncClient, workers: int, folder: Path) -> None:
    """Ask until each of the processes has answered something."""
    deadline = time.monotonic() + PATIENCE
    while len(processes(folder)) < workers:
        assert time.monotonic() < deadline
        try:
            await all_of(client.get("/livez", headers=CLOSE) for _ in range(24))
        except httpx.TransportError:
            await asyncio.sleep(0.1)


def processes(folder: Path) -> set[int]:
    """Return those that have counted a request, of a service that runs there."""
    files = (folder / "data" / "metrics").glob("*/histogram_*.db")
    return {int(file.stem.rpartition("_")[2]) for file in files if _is_used(file)}


async def all_of(
    requests: Iterable[Awaitable[httpx.Response]],
) -> list[httpx.Response]:
    """Make the requests on a few connections, which lead to several processes."""
    left, found = iter(requests), list[httpx.Response]()

    async def some() -> None:
        for request in left:
            found.append(await request)

    await asyncio.gather(*(some() for _ in range(12)))
    return found


async def until(
    scrape: Callable[[], Awaitable[Mapping[str, float]]],
    holds: Callable[[Mapping[str, float]], bool],
) -> None:
    """Wait for what holds soon: within a second, all processes tell what they hold."""
    deadline = time.monotonic() + PATIENCE
    while not holds(found := await scrape()):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)


def are(**expected: float) -> Callable[[Mapping[str, float]], bool]:
    """Tell whether the numbers of these names are these."""
    return lambda found: expected == {name: found.get(name, 0) for name in expected}


def _is_used(file: Path) -> bool:
    return b"http_request_seconds" in file.read_bytes()
