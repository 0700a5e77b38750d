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
    """Two workers at one port, each with its own way to Redis."""

    name: str  # ours or stock
    program: list[str]
    folder: Path
    redis_urls: list[str]
    environment: dict[str, str]
    port: int = field(default_factory=free_port)
    log: Path = field(init=False)
    people: list[Person] = field(default_factory=list)
    crowd: list[Row] = field(default_factory=list)
    admin: Headers = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.log = self.folder / f"{self.name}.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start, and wait until both workers answer."""
        process = self._process = self._launch()
        deadline = time.monotonic() + PATIENCE
        answered: set[str] = set()
        while answered < set(WORKERS):
            assert process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            try:
                async with httpx.AsyncClient(base_url=self.url) as client:
                    answer = await client.get("/users/me", timeout=PATIENCE)
                    answered.add(answer.headers["x-worker"])
            except httpx.TransportError:
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(self._process.wait, 30)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            self._process = None

    def _launch(self) -> subprocess.Popen[bytes]:
        claims = self.log.with_name(f"claims{time.monotonic_ns()}")
        claims.mkdir()
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [
                    *self.program,
                    *("--factory", "worker:create_app", "--app-dir", str(APPS)),
                    *("--workers", str(len(WORKERS)), "--port", str(self.port)),
                    # The connections of the load are to stay on their workers.
                    *("--timeout-keep-alive", "600", "--no-access-log"),
                ],
                cwd=self.folder,
                env=clean_environment(
                    **self.environment,
                    FAULTS_APP=self.name,
                    FAULTS_CLAIMS=str(claims),
                    FAULTS_REDIS_URLS=" ".join(self.redis_urls),
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
    settings = {"ACCESS_TOKEN_TTL": "86400", "LOG_CATEGORIES": "NONE", **database}
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
    await service.start()
    try:
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
    await service.start()
    try:
        yield service
    finally:
        await service.stop()
