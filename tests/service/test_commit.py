"""What a client was told is stored: the commit comes before the answer."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Connection, Engine, event, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.types import Message, Receive, Scope, Send

from app.config import Settings
from app.database import Database
from app.database.base import Base
from tests.people import Headers, MakeKey, Person

Tables = dict[str, list[Any]]

REGISTRATION = {
    "email": "ada@example.com",
    "password": "correct horse battery staple",
    "first_name": "Ada",
    "last_name": "Lovelace",
}
PROFILE = {"email": "grace@example.com", "first_name": "Grace", "last_name": "Hopper"}

# Every route that writes, who calls it, and its body; {key} is the id of a key of his.
WRITES: dict[str, tuple[str, Any]] = {
    "POST /register/": ("nobody", REGISTRATION),
    "POST /login/": ("nobody", {"email": "{email}", "password": "{password}"}),
    "POST /refresh/": ("nobody", {"refresh": "{refresh}"}),
    "POST /logout/": ("user", None),
    "POST /users/keys": ("user", {"name": "new"}),
    "PATCH /users/keys/{key}": ("user", {"name": "renamed"}),
    "DELETE /users/keys/{key}": ("user", None),
    "POST /users/keys/by-user/{user}": ("admin", {"name": "new"}),
    "PATCH /users/keys/by-user/{user}/{key}": ("admin", {"name": "renamed"}),
    "DELETE /users/keys/by-user/{user}/{key}": ("admin", None),
    "PUT /users/{user}": ("user", PROFILE),
    "DELETE /users/{user}": ("admin", None),
    "POST /users/{user}/ban": ("admin", None),
    "POST /users/{user}/make-admin": ("admin", None),
    "DELETE /users/me/sessions": ("user", None),
    "DELETE /users/me/sessions/{session}": ("user", None),
    "POST /users/{user}/password": ("admin", {"password": "another password"}),
}


class Witness:
    """Serves an application and looks into the database when an answer begins.

    It looks through a connection of its own: it sees what is committed, no more.
    """

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self.at_answer: Tables = {}
        self._app = app
        self._engine = create_async_engine(settings.database_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.at_answer = await self.look()
            await send(message)

        await self._app(scope, receive, watched_send)

    async def look(self) -> Tables:
        async with self._engine.connect() as connection:
            return {
                table.name: [
                    tuple(row)
                    for row in await connection.execute(
                        select(table).order_by(*table.primary_key)
                    )
                ]
                for table in Base.metadata.sorted_tables
            }

    async def close(self) -> None:
        await self._engine.dispose()


@pytest.fixture
async def witness(app: FastAPI, settings: Settings) -> AsyncIterator[Witness]:
    witness = Witness(app, settings)
    yield witness
    await witness.close()


@pytest.fixture
async def watched(witness: Witness) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that is answered as by a server: a failure is a response."""
    transport = httpx.ASGITransport(witness, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://service"
    ) as client:
        yield client


@pytest.fixture
async def request_for(
    user: Person, admin: Person, make_key: MakeKey, client: httpx.AsyncClient
) -> Any:
    """Return a function that makes the arguments of a request out of WRITES."""
    await make_key(user)
    listed = await client.get("/users/keys", headers=user.headers)
    names = {"user": str(user.id), "key": str(listed.json()[0]["id"])}
    known = {"{email}": user.email, "{password}": user.password}
    await client.post("/login/", json={it.strip("{}"): known[it] for it in known})
    sessions = await client.get("/users/me/sessions", headers=user.headers)
    names["session"] = next(it["id"] for it in sessions.json() if not it["current"])
    known["{refresh}"] = user.refresh
    headers: dict[str, Headers] = {"user": user.headers, "admin": admin.headers}

    def request_for(name: str) -> dict[str, Any]:
        method, path = name.split()
        caller, body = WRITES[name]
        if body:
            body = {field: known.get(value, value) for field, value in body.items()}
        return {
            "method": method,
            "url": path.format(**names),
            "headers": headers.get(caller),
            "json": body,
        }

    return request_for


@pytest.mark.parametrize("name", WRITES)
async def test_an_answer_comes_after_the_commit(
    name: str, watched: httpx.AsyncClient, witness: Witness, request_for: Any
) -> None:
    before = await witness.look()
    response = await watched.request(**request_for(name))
    assert response.status_code in (200, 201, 204), response.text
    assert witness.at_answer != before
    assert witness.at_answer == await witness.look()


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize(
    ("failure", "status"),
    [(OperationalError("COMMIT", None, Exception("full")), 503), (OSError("bug"), 500)],
    ids=["expected", "unexpected"],
)
async def test_a_write_whose_commit_fails_is_no_success(
    name: str,
    failure: Exception,
    status: int,
    watched: httpx.AsyncClient,
    witness: Witness,
    request_for: Any,
) -> None:
    arguments = request_for(name)
    before = await witness.look()
    with failing_commits(failure):
        response = await watched.request(**arguments)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert "bug" not in response.text
    assert await witness.look() == before


@contextmanager
def failing_commits(failure: Exception) -> Iterator[None]:
    """Let the commits of transactions that wrote something fail."""

    def note(connection: Connection, _: object, statement: str, *__: object) -> None:
        if statement.startswith(("INSERT", "UPDATE", "DELETE")):
            connection.info["wrote"] = True

    def fail(connection: Connection) -> None:
        if connection.info.pop("wrote", False):
            raise failure

    event.listen(Engine, "before_cursor_execute", note)
    event.listen(Engine, "commit", fail)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        event.remove(Engine, "commit", fail)


async def test_another_process_sees_it_at_once(
    server: str, database: Database, user: Person
) -> None:
    async with httpx.AsyncClient(base_url=server) as client:
        for number in range(10):
            profile = PROFILE | {"first_name": f"Grace {number}"}
            response = await client.put(
                f"/users/{user.id}", json=profile, headers=user.headers
            )
            assert response.status_code == 200, response.text
            async with database.session(writes=False) as session:
                names = select(Base.metadata.tables["users"].c.first_name)
                assert (await session.scalars(names)).all() == [f"Grace {number}"]
