"""C14: processes with a memory cache on one database hear of each other's commits."""

import fcntl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from app.cache.engine.memory import Memory
from app.cache.engine.processes import Marker
from app.config import Settings
from tests.engine.each import THOROUGH
from tests.servers import free_port
from tests.servers.service import API_ADMIN

ROUNDS = 1000 if THOROUGH else 10
PASSWORD = "correct horse battery staple"
PERSON = {"email": "ann@example.com", "first_name": "Ann", "last_name": "Lee"}

APP = ["--factory", "app.main:create_app", "--log-level", "warning"]


@contextmanager
def process(
    *command: str | Path,
    port: int,
    cwd: Path | None = None,
    address: str = "--port={port}",
) -> Iterator[str]:
    arguments = [*map(str, command), address.format(port=port)]
    with subprocess.Popen(arguments, cwd=cwd) as running:
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 60
            while True:
                try:
                    httpx.get(f"{url}/livez")
                    break
                except httpx.TransportError:
                    assert running.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            yield url
        finally:
            running.terminate()
            running.wait(30)


@contextmanager
def two_serves() -> Iterator[list[str]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(process(API_ADMIN, "serve", port=free_port()))
            for _ in range(2)
        ]


@contextmanager
def uvicorn_with_workers() -> Iterator[list[str]]:
    command = [sys.executable, "-m", "uvicorn", *APP, "--workers", "2"]
    with process(*command, port=free_port()) as url:
        yield [url, url]


@contextmanager
def gunicorn_with_workers() -> Iterator[list[str]]:
    command = [sys.executable, "-m", "gunicorn", "app.main:create_app()", "--workers=2"]
    worker = "--worker-class=uvicorn_worker.UvicornWorker"
    address = "--bind=127.0.0.1:{port}"
    with process(*command, worker, port=free_port(), address=address) as url:
        yield [url, url]


@contextmanager
def an_overlapping_restart() -> Iterator[list[str]]:
    with ExitStack() as stack:
        command = [sys.executable, "-m", "uvicorn", *APP]
        old = stack.enter_context(process(*command, port=free_port()))
        httpx.get(old)
        new = stack.enter_context(process(*command, port=free_port()))
        yield [old, new]


WAYS = [
    two_serves,
    uvicorn_with_workers,
    gunicorn_with_workers,
    an_overlapping_restart,
]


@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
def test_no_read_after_an_acknowledged_write_is_older(
    settings: Settings, way: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    with way() as (one, other):
        person = PERSON | {"password": PASSWORD}
        assert httpx.post(f"{one}/register/", json=person).status_code == 201
        token = login(one)
        assert_no_read_is_stale(one, other, token)
        ended = httpx.post(f"{one}/logout/", headers=bearer(token))
        assert ended.is_success, ended.text
        for url in (one, other) * 2:
            assert me(url, token).status_code == 401


def assert_no_read_is_stale(one: str, other: str, token: str) -> None:
    """Rename who asks, again and again, and read that in the other process."""
    own = me(one, token).json()["id"]
    for number in range(ROUNDS):
        writer, reader = (one, other) if number % 2 else (other, one)
        for url in (one, other):  # both have it in memory
            assert me(url, token).status_code == 200
        name = f"Ann {number}"
        changed = httpx.put(
            f"{writer}/users/{own}",
            json=PERSON | {"first_name": name},
            headers=bearer(token),
        )
        assert changed.status_code == 200, changed.text
        for _ in range(2):
            assert me(reader, token).json()["first_name"] == name


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def me(url: str, token: str) -> httpx.Response:
    return httpx.get(f"{url}/users/me", headers=bearer(token))


def login(url: str) -> str:
    credentials = {"email": PERSON["email"], "password": PASSWORD}
    answer = httpx.post(f"{url}/login/", json=credentials)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["token"]
    return token


async def test_a_change_that_cannot_be_told_is_said_and_fails_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    epoch = tmp_path / "epoch"
    stores = [Memory(10**6, 100, epoch, shares=True) for _ in range(2)]
    for store in stores:
        await store.open()
    epoch.mkdir()  # so that it cannot be written
    await stores[0].fence(["a"], b"me", 1)
    await stores[0].renew({"a": b"new"}, 60, b"me")
    assert "cannot be told of this change" in caplog.text
    for store in stores:
        await store.close()


def test_who_has_ended_is_not_there(tmp_path: Path) -> None:
    one = Marker(tmp_path / "epoch", "process")
    one.show()
    assert not one.others_live()
    other = tmp_path / "epoch-process-1-other"
    with other.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert one.others_live()
    assert not one.others_live()
    assert not other.exists()
    other.touch()  # of one that was killed: its lock went with it
    assert not one.others_live()
    assert len(list(tmp_path.iterdir())) == 1
    one.remove()
    assert not list(tmp_path.iterdir())
