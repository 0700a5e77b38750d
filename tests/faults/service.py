"""The service under test as processes of its own, and the people who use it."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from faults.connection import Connection
from faults.ledger import Row
from harness import ROOT, Project, clean_environment
from serving import PASSWORD, PATIENCE, free_port

APPS = ROOT / "tests" / "faults" / "apps"
WORKERS = ("0", "1")
PEOPLE = 8
CROWD = 260  # users beyond these; each write of one invalidates four namespaces
STOCK_SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE users (
    id INTEGER PRIMARY KEY, email TEXT, first_name TEXT, last_name TEXT
);
CREATE TABLE keys (id INTEGER PRIMARY KEY, user_id INTEGER, name TEXT);
CREATE TABLE credentials (text TEXT PRIMARY KEY, user_id INTEGER);
"""

Headers = dict[str, str]


@dataclass(frozen=True)
class Person:
    """A user with two ways to log in; both rows are written and read under load."""

    user: Row
    key: Row
    bearer: Headers
    api_key: Headers


@dataclass
class Service:
    """A process for each worker, with a port and a way to Redis of its own.

    Two workers at one port would be the same, but nobody could choose between them.
    """

    name: str  # ours or stock
    program: list[str]
    folder: Path
    redis_urls: list[str]
    environment: dict[str, str]
    ports: dict[str, int] = field(init=False)
    log: Path = field(init=False)
    people: list[Person] = field(default_factory=list)
    crowd: list[Row] = field(default_factory=list)
    admin: Headers = field(default_factory=dict)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log = self.folder / f"{self.name}.log"
        self.ports = {worker: free_port() for worker in WORKERS}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[WORKERS[0]]}"

    async def start(self) -> None:
        """Start, and wait until both workers answer."""
        for worker, redis_url in zip(WORKERS, self.redis_urls, strict=True):
            self._processes[worker] = self._launch(worker, redis_url)
        deadline = time.monotonic() + PATIENCE
        for worker, process in self._processes.items():
            connection = Connection(self.ports[worker], PATIENCE)
            while True:
                assert process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                try:
                    await connection.send("GET", "/users/me", {})
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    break
            connection.close()

    async def stop(self) -> None:
        processes = self._processes.values()
        for process in processes:
            process.send_signal(signal.SIGTERM)
        try:
            for process in processes:
                await asyncio.to_thread(process.wait, 30)
        finally:
            for process in processes:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            self._processes.clear()

    def _launch(self, worker: str, redis_url: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [
                    *self.program,
                    *("--factory", "worker:create_app", "--app-dir", str(APPS)),
                    *("--port", str(self.ports[worker]), "--no-access-log"),
                    # The load finds its connections open, however long they rested.
                    *("--timeout-keep-alive", "600"),
                    # Handlers of the stock cache may wait for Redis for ever.
                    *("--timeout-graceful-shutdown", "10"),
                ],
                cwd=self.folder,
                env=clean_environment(
                    **self.environment,
                    FAULTS_APP=self.name,
                    FAULTS_WORKER=worker,
                    REDIS_URL=redis_url,
                ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


@asynccontextmanager
async def our_service(
    project: Project, folder: Path, redis_urls: list[str]
) -> AsyncIterator[Service]:
    """A rendered service with Redis as its cache, and with people in it."""
    database = {"DATABASE_URL": f"sqlite+aiosqlite:///{folder}/service.db"}
    quiet = {"LOG_CATEGORIES": "NONE", "RATE_LIMIT_ENABLED": "false"}
    settings = {"ACCESS_TOKEN_TTL": "86400", **quiet, **database}
    project.run("api-admin", "db", "upgrade", **settings)
    python = str(project.path / ".venv/bin/python")
    service = Service(
        "ours",
        [python, "-m", "uvicorn"],
        project.path,
        redis_urls,
        settings,
    )
    service.log = folder / "ours.log"
    try:
        await service.start()
        await register(service, project, settings)
        yield service
    finally:
        await service.stop()


async def register(
    service: Service, project: Project, settings: dict[str, str]
) -> None:
    async with httpx.AsyncClient(base_url=service.url, timeout=PATIENCE) as client:
        for person in range(1, PEOPLE + 1):
            login = {"email": f"p{person}@example.com", "password": PASSWORD}
            names = {"first_name": "Ann", "last_name": "v0"}
            tokens = await client.post("/register/", json=login | names)
            bearer = {"Authorization": f"Bearer {tokens.json()['token']}"}
            user = await client.get("/users/me", headers=bearer)
            made = await client.post("/users/keys", headers=bearer, json={"name": "v0"})
            key = made.json()
            service.people.append(
                Person(
                    Row(user.json()["id"]),
                    Row(key["id"]),
                    bearer,
                    {"X-API-Key": key["key"]},
                )
            )
        create = "user create --admin --email eve@example.com --first-name Eve"
        names_and_password = ["--last-name", "v0", "--password", PASSWORD]
        project.run("api-admin", *create.split(), *names_and_password, **settings)
        project.run("api-admin", "db", "populate", str(CROWD), **settings)
        login = {"email": "eve@example.com", "password": PASSWORD}
        token = (await client.post("/login/", json=login)).json()["token"]
        service.admin = {"Authorization": f"Bearer {token}"}
    service.crowd = [Row(PEOPLE + 2 + each) for each in range(CROWD)]


@asynccontextmanager
async def stock_service(
    program: list[str], folder: Path, redis_urls: list[str]
) -> AsyncIterator[Service]:
    """The same routes with fastapi-cache2 as it is, and with the same people."""
    file = folder / "stock.db"
    database = {"STOCK_DATABASE": str(file)}
    service = Service("stock", program, folder, redis_urls, database)
    connection = sqlite3.connect(file)
    connection.executescript(STOCK_SCHEMA)
    for person in range(1, PEOPLE + 2 + CROWD):
        user = (person, f"p{person}@example.com", "Ann", "v0")
        connection.execute("INSERT INTO users VALUES (?, ?, ?, ?)", user)
        connection.execute("INSERT INTO keys VALUES (?, ?, ?)", (person, person, "v0"))
        for text in (f"token{person}", f"key{person}"):
            connection.execute("INSERT INTO credentials VALUES (?, ?)", (text, person))
        bearer = {"Authorization": f"Bearer token{person}"}
        api_key = {"X-API-Key": f"key{person}"}
        if person <= PEOPLE:
            user_and_key = Row(person), Row(person)
            service.people.append(Person(*user_and_key, bearer, api_key))
        elif person == PEOPLE + 1:
            service.admin = bearer
        else:
            service.crowd.append(Row(person))
    connection.commit()
    connection.close()
    try:
        await service.start()
        yield service
    finally:
        await service.stop()
