"""Who asks too often is told so, and for how long."""

from collections.abc import Iterator
from itertools import count

import httpx
import pytest
from fastapi import FastAPI

from app.config import Settings
from tests.environment import settings_from
from tests.people import Person
from tests.test_limits import From

LIMITED = {
    "/login/": "login",
    "/register/": "register",
    "/refresh/": "refresh",
    "/users/{user_id}/password": "password",
    "/users/keys": "keys",
    "/users/keys/by-user/{user_id}": "keys",
}


@pytest.fixture
def settings(database_url: str) -> Iterator[Settings]:
    low = {f"RATE_LIMIT_{name}": "3/hour" for name in ("REGISTER", "REFRESH", "KEYS")}
    on = {"RATE_LIMIT_ENABLED": "true", "RATE_LIMIT_LOGIN": "4/hour"}
    password = {"RATE_LIMIT_PASSWORD": "3/hour; 100/day"}
    with settings_from(DATABASE_URL=database_url, **on, **low, **password) as settings:
        yield settings


def registration(email: str) -> dict[str, str]:
    password = "correct horse battery staple"
    names = {"first_name": "Ada", "last_name": "Lovelace"}
    return {"email": email, "password": password, **names}


def refusal(answer: httpx.Response) -> int:
    """Return for how many seconds an answer refuses."""
    assert answer.status_code == 429, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "too_many_requests"
    assert problem["status"] == 429
    seconds = int(answer.headers["Retry-After"])
    assert f"{seconds} seconds" in problem["detail"]
    return seconds


async def test_an_address_that_registers_too_often_waits_and_others_do_not(
    at: From,
) -> None:
    numbers = count()
    bodies = (registration(f"ada{n}@example.com") for n in numbers)
    for left in (2, 1, 0):
        answer = await at("192.0.2.1").post("/register/", json=next(bodies))
        assert answer.status_code == 201
        of_address, of_account = answer.headers["RateLimit"].split(", ")
        assert of_address.startswith(f'"register-address";r={left};t=')
        assert of_account.startswith('"register-account";r=2;t=')
        policy = '"register-address";q=3;w=3600, "register-account";q=3;w=3600'
        assert answer.headers["RateLimit-Policy"] == policy
    refused = await at("192.0.2.1").post("/register/", json=next(bodies))
    assert 1 <= refusal(refused) <= 3600
    assert refused.headers["RateLimit"].startswith('"register-address";r=0;t=')
    other = await at("192.0.2.2").post("/register/", json=next(bodies))
    assert other.status_code == 201


async def test_an_account_is_counted_at_all_addresses_in_any_case(at: From) -> None:
    for n, email in enumerate(("a@example.com", "A@example.com", "a@Example.com")):
        await at(f"192.0.2.{n}").post("/register/", json=registration(email))
    fourth = registration("A@EXAMPLE.com")
    refusal(await at("192.0.2.9").post("/register/", json=fourth))


@pytest.mark.parametrize("same", ["2001:db8::1", "2001:db8::ffff:ffff:1:2"])
async def test_a_network_of_ipv6_is_one_address(same: str, at: From) -> None:
    for n in range(4):
        body = {"email": f"a{n}@example.com", "password": "wrong"}
        assert (await at("2001:db8::7").post("/login/", json=body)).status_code == 401
    body = {"email": "other@example.com", "password": "wrong"}
    refusal(await at(same).post("/login/", json=body))
    next_network = await at("2001:db8:0:1::7").post("/login/", json=body)
    assert next_network.status_code == 401


async def test_what_is_no_login_at_all_is_counted_too(at: From) -> None:
    for _ in range(4):
        answer = await at("192.0.2.1").post("/login/", json={"email": "x"})
        assert answer.status_code == 422
    refusal(await at("192.0.2.1").post("/login/", json={"email": "x"}))


async def test_a_user_is_counted_for_refreshes_keys_and_passwords(
    at: From, user: Person
) -> None:
    token = user.refresh
    for n in range(3):
        answer = await at(f"192.0.2.{n}").post("/refresh/", json={"refresh": token})
        token = answer.json()["refresh"]
    refusal(await at("192.0.2.9").post("/refresh/", json={"refresh": token}))

    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    for url, body, fine in [
        ("/users/keys", {"name": "a key"}, 201),
        (f"/users/{user.id}/password", {"password": "a long password"}, 422),
    ]:
        for n in range(3):
            answer = await at(f"192.0.2.{n}").post(url, json=body, headers=headers)
            assert answer.status_code == fine, answer.text
        refusal(await at("192.0.2.9").post(url, json=body, headers=headers))


async def test_the_document_says_which_routes_may_refuse(
    app: FastAPI, at: From
) -> None:
    document = (await at("192.0.2.1").get("/openapi.json")).json()
    limited = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if "429" in operation["responses"]
    }
    assert limited == set(LIMITED)


async def test_where_the_server_knows_no_address_accounts_are_counted(
    at: From,
) -> None:
    """As behind a socket in the file system: all would be one address."""
    nobody = at("")
    for n in range(5):
        body = {"email": f"a{n}@example.com", "password": "wrong"}
        assert (await nobody.post("/login/", json=body)).status_code == 401
    for _ in range(3):
        await nobody.post("/login/", json=body)
    refusal(await nobody.post("/login/", json=body))


async def test_a_proxy_that_is_not_believed_is_named_once(
    at: From, caplog: pytest.LogCaptureFixture
) -> None:
    for address in ("10.0.0.7", "10.0.0.8", "8.8.8.8"):
        forwarded = {"X-Forwarded-For": "203.0.113.5"}
        await at(address).post("/login/", json={}, headers=forwarded)
    said = [r.getMessage() for r in caplog.records if "X-Forwarded" in r.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("X-Forwarded-For of 10.0.0.7 is not believed")
    assert said[0].endswith("add it to FORWARDED_ALLOW_IPS")


async def test_a_proxy_that_is_believed_is_not_named(
    at: From, caplog: pytest.LogCaptureFixture
) -> None:
    forwarded = {"X-Forwarded-For": "10.0.0.7, 192.168.0.1"}
    await at("10.0.0.7").post("/login/", json={}, headers=forwarded)
    assert "X-Forwarded-For" not in caplog.text
