"""Who guesses a password has to wait; its owner has not."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from app.config import Settings
from app.limits.counting import FREE, FREE_OF_ALL
from app.main import create_app
from tests.asgi import lifespan
from tests.environment import settings_from
from tests.people import PASSWORD, Person
from tests.servers.service import API_ADMIN
from tests.test_limits import From

HOME = "192.0.2.1"


@pytest.fixture
async def app(database_url: str, settings: Settings) -> AsyncIterator[FastAPI]:
    """Yield a service in which only wrong passwords are limited."""
    on = {"RATE_LIMIT_ENABLED": "true", "RATE_LIMIT_LOGIN": ""}
    more = {"RATE_LIMIT_PASSWORD": ""}
    with settings_from(DATABASE_URL=database_url, **on, **more) as settings:
        app = create_app(settings)
        async with lifespan(app):
            yield app


async def log_in(
    client: httpx.AsyncClient, who: str, password: str = PASSWORD
) -> httpx.Response:
    body = {"email": who, "password": password}
    return await client.post("/login/", json=body)


async def guess(at: From, who: str, times: int, *addresses: str) -> list[int]:
    """Return what wrong logins are answered, from these addresses in turn."""
    return [
        (await log_in(at(addresses[n % len(addresses)]), who, f"wrong {n}")).status_code
        for n in range(times)
    ]


async def test_of_forty_guesses_at_one_address_few_are_checked(
    at: From, user: Person
) -> None:
    answers = await guess(at, user.email, 40, "198.51.100.1")
    assert answers == [401] * FREE + [429] * (40 - FREE)
    # The right one is not checked either.
    right = await log_in(at("198.51.100.1"), user.email)
    assert right.status_code == 429
    assert 1 <= int(right.headers["Retry-After"]) <= 60
    assert right.json()["detail"].startswith("Too many wrong passwords: try again in ")
    # Others go on, at this address too.
    assert (await log_in(at("198.51.100.1"), "b@example.com")).status_code == 401
    assert (await log_in(at(HOME), user.email)).status_code == 200


async def test_forty_guesses_at_the_same_time_are_no_better(
    at: From, user: Person
) -> None:
    guesses = (log_in(at("198.51.100.1"), user.email, f"no {n}") for n in range(40))
    answers = [answer.status_code for answer in await asyncio.gather(*guesses)]
    assert answers.count(401) == FREE
    assert answers.count(429) == 40 - FREE


async def test_many_addresses_together_are_stopped_and_known_ones_go_on(
    at: From, user: Person
) -> None:
    assert (await log_in(at(HOME), user.email)).status_code == 200
    crowd = [f"198.51.100.{n}" for n in range(100)]
    answers = await guess(at, user.email, 40, *crowd)
    assert answers == [401] * FREE_OF_ALL + [429] * (40 - FREE_OF_ALL)

    assert (await log_in(at("203.0.113.5"), user.email)).status_code == 429
    for _ in range(2):
        assert (await log_in(at(HOME), user.email)).status_code == 200
    # A known address has its own count, which a right password clears.
    assert await guess(at, user.email, FREE - 1, HOME) == [401] * (FREE - 1)
    assert (await log_in(at(HOME), user.email)).status_code == 200
    assert await guess(at, user.email, FREE + 1, HOME) == [401] * FREE + [429]


async def test_an_admin_can_end_the_wait(at: From, user: Person, other: Person) -> None:
    crowd = [f"198.51.100.{n}" for n in range(100)]
    for who in (user, other):
        await guess(at, who.email, FREE + 1, "198.51.100.100")
        await guess(at, who.email, 40, *crowd)
        assert (await log_in(at("203.0.113.5"), who.email)).status_code == 429
    process = await asyncio.create_subprocess_exec(
        API_ADMIN, "user", "unlock", user.email, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert said.decode() == f"{user.email} may log in at once, from any address\n"
    for address in ("198.51.100.100", "203.0.113.5"):
        assert (await log_in(at(address), user.email)).status_code == 200
    assert (await log_in(at("203.0.113.5"), other.email)).status_code == 429


async def test_an_account_that_is_not_there_is_answered_the_same(
    at: From, user: Person
) -> None:
    of_user = await guess(at, user.email, 10, "198.51.100.1")
    of_nobody = await guess(at, "nobody@example.com", 10, "198.51.100.2")
    assert of_user == of_nobody


async def test_right_passwords_are_not_counted(at: From, user: Person) -> None:
    for n in range(FREE_OF_ALL + 1):
        answer = await log_in(at(f"198.51.100.{n}"), user.email)
        assert answer.status_code == 200


async def test_what_says_nothing_of_the_password_is_not_counted(
    at: From, user: Person, admin: Person
) -> None:
    banned = await at(HOME).post(f"/users/{user.id}/ban", headers=admin.headers)
    assert banned.status_code == 200
    for _ in range(FREE + 1):
        assert (await log_in(at("198.51.100.1"), user.email)).status_code == 403


async def test_who_has_a_token_cannot_guess_the_current_password(
    at: From, user: Person
) -> None:
    url, client = f"/users/{user.id}/password", at("198.51.100.1")
    answers = [
        await client.post(
            url,
            json={"current_password": f"wrong {n}", "password": "a long password"},
            headers=user.headers,
        )
        for n in range(FREE + 1)
    ]
    assert [each.status_code for each in answers] == [422] * FREE + [429]


async def test_no_address_and_no_account_is_logged_or_named(
    at: From, user: Person, caplog: pytest.LogCaptureFixture
) -> None:
    await guess(at, user.email, FREE + 1, "198.51.100.1")
    (line,) = (r.getMessage() for r in caplog.records if "waits" in r.getMessage())
    assert line == f"an account waits 60 s after {FREE} wrong passwords"
