"""Users of the service, who are already logged in, and their API keys."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx
import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from app.config import Settings
from app.database import Database
from app.managers import passwords
from app.managers.api_key import ApiKeyManager
from app.managers.user import UserManager
from app.models import Role
from app.schemas.api_key import ApiKeyCreate
from app.schemas.auth import Registration

PASSWORD = "correct horse battery staple"

Headers = dict[str, str]


@dataclass
class Person:
    """A user as he knows himself. `headers` authenticate him."""

    id: int
    email: str
    password: str = PASSWORD
    headers: Headers = field(default_factory=dict)
    refresh: str = ""


MakeUser = Callable[..., Awaitable[Person]]
LogIn = Callable[[Person], Awaitable[Person]]
MakeKey = Callable[..., Awaitable[Headers]]


@pytest.fixture(autouse=True, scope="session")
def _cheap_hashes() -> Iterator[None]:
    """Hash with argon2 as the service does, but with the least work it allows."""
    cheap = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "password_hash", PasswordHash((cheap,)))
        yield


@pytest.fixture
def log_in(client: httpx.AsyncClient) -> LogIn:
    """Return a function that logs a person in, once more if he is already."""

    async def log_in(person: Person) -> Person:
        credentials = {"email": person.email, "password": person.password}
        response = await client.post("/login/", json=credentials)
        assert response.status_code == 200, response.text
        tokens = response.json()
        person.headers = {"Authorization": f"Bearer {tokens['token']}"}
        person.refresh = tokens["refresh"]
        return person

    return log_in


@pytest.fixture
def make_user(database: Database, settings: Settings, log_in: LogIn) -> MakeUser:
    """Return a function that adds a user, logs him in and then may ban him."""
    numbers = count(1)

    async def make_user(role: Role = Role.user, *, banned: bool = False) -> Person:
        number = next(numbers)
        registration = Registration(
            email=f"person{number}@example.com",
            password=PASSWORD,
            first_name=f"First{number}",
            last_name=f"Last{number}",
        )
        async with database.session() as session:
            user = await UserManager(session, settings).create(registration, role=role)
            person = Person(user.id, user.email)
        await log_in(person)
        if banned:
            async with database.session() as session:
                await UserManager(session, settings).ban(person.id)
        return person

    return make_user


@pytest.fixture
def make_key(database: Database, settings: Settings) -> MakeKey:
    """Return a function that adds an API key and returns the headers that carry it.

    Without scopes it has all that the user may read.
    """

    async def make_key(person: Person, *scopes: str, **fields: Any) -> Headers:
        wanted: dict[str, Any] = {"name": "a key", "scopes": list(scopes) or None}
        data = ApiKeyCreate.model_validate(wanted | fields)
        async with database.session() as session:
            manager = ApiKeyManager(session, settings)
            _, text = await manager.create(person.id, data)
        return {"X-API-Key": text}

    return make_key


@pytest.fixture
async def user(make_user: MakeUser) -> Person:
    return await make_user()


@pytest.fixture
async def other(make_user: MakeUser) -> Person:
    """Return a second user, like `user`."""
    return await make_user()


@pytest.fixture
async def admin(make_user: MakeUser) -> Person:
    return await make_user(Role.admin)
