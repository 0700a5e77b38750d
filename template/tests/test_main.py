"""The service starts or says why not; refusals have one shape and give nothing away."""

import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from app.errors import StartupError
from app.logs import REQUESTS
from app.main import MAX_BODY_SIZE, create_app
from app.middleware import SECURITY
from tests.asgi import lifespan, match_first
from tests.environment import settings_from
from tests.people import Person

SECRET = "secret-of-the-sender"


class TestStart:
    async def test_refuses_a_database_that_is_behind_on_migrations(
        self, empty_database_url: str
    ) -> None:
        with settings_from(DATABASE_URL=empty_database_url) as settings:
            app = create_app(settings)
            with pytest.raises(RuntimeError, match="run: api-admin db upgrade"):
                async with lifespan(app):
                    pass

    async def test_refuses_a_database_that_is_not_there(
        self, unreachable_database_url: str
    ) -> None:
        with settings_from(DATABASE_URL=unreachable_database_url) as settings:
            app = create_app(settings)
            with pytest.raises(RuntimeError, match=r"[Tt]he database"):
                async with lifespan(app):
                    pass


class TestRequest:
    async def test_is_one_line_of_the_log_without_its_secrets(
        self, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, REQUESTS.name)
        headers = {"Authorization": "Bearer hush"}
        await client.get("/users/me?token=hush", headers=headers)

        lines = [r.getMessage() for r in caplog.records if r.name == REQUESTS.name]
        assert len(lines) == 1
        assert lines[0].startswith("GET /users/me 401 (")
        assert "hush" not in lines[0]

    async def test_is_answered_with_the_headers_of_security(
        self, client: httpx.AsyncClient
    ) -> None:
        for path in ("/", "/nowhere", "/users/me"):
            answer = await client.get(path)
            for name, value in SECURITY.items():
                assert answer.headers.get(name) == value, path

    async def test_has_a_body_no_larger_than_allowed(
        self, client: httpx.AsyncClient
    ) -> None:
        answer = await client.post("/login/", content=b"a" * (MAX_BODY_SIZE + 1))

        assert answer.status_code == 413
        assert answer.json()["code"] == "content_too_large"


class TestSettings:
    @pytest.mark.parametrize(
        "weak",
        ["tiny", "replace-me-with-a-secret-of-your-own", "a" * 64, "abcdefgh" * 8],
    )
    def test_refuse_a_weak_secret_key(self, weak: str) -> None:
        with (
            pytest.raises(StartupError, match="SECRET_KEY") as refusal,
            settings_from(SECRET_KEY=weak, DATABASE_URL="sqlite:///app.db"),
        ):
            pass
        assert weak not in str(refusal.value)

    def test_name_the_variable_the_value_and_what_is_allowed(self) -> None:
        with (
            pytest.raises(StartupError) as refusal,
            settings_from(ACCESS_TOKEN_TTL="soon", DATABASE_URL="sqlite:///app.db"),
        ):
            pass
        assert "ACCESS_TOKEN_TTL='soon'" in str(refusal.value)
        assert "1 to 86400 seconds" in str(refusal.value)


# Refusals


@pytest.fixture
async def tolerant(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that is answered as by a server: a failure is a response."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://service"
    ) as client:
        yield client


async def test_every_refusal_is_a_problem_document(client: httpx.AsyncClient) -> None:
    for method, path, status, code in (
        ("GET", "/nowhere", 404, "not_found"),
        ("DELETE", "/livez", 405, "method_not_allowed"),
        ("GET", "/users/me", 401, "not_authenticated"),
        ("POST", "/login/", 422, "invalid"),
    ):
        response = await client.request(method, path)
        assert response.status_code == status, path
        assert response.headers["Content-Type"] == "application/problem+json", path
        problem = response.json()
        assert (problem["status"], problem["code"]) == (status, code)
        assert problem["type"] == "about:blank", path
        assert problem["title"], path
        assert problem["detail"], path


async def test_a_failure_tells_nothing_of_its_cause(
    app: FastAPI, tolerant: httpx.AsyncClient
) -> None:
    @app.get("/of-a-test/broken")
    async def broken() -> None:
        raise RuntimeError(SECRET)

    match_first(app)
    response = await tolerant.get("/of-a-test/broken")
    assert response.status_code == 500
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "internal_error"
    assert SECRET not in response.text


REFUSED: list[tuple[str, dict[str, object]]] = [
    ("/register/", {"email": "nobody", "password": SECRET}),
    ("/register/", {"email": "ada@example.com", "password": SECRET * 20}),
    ("/register/", {"email": "ada@example.com", "password": [SECRET]}),
    ("/login/", {"email": "ada@example.com", "password": SECRET}),
    ("/login/", {"email": "nobody", "password": SECRET}),
    ("/login/", {"email": "ada@example.com", "password": {"is": SECRET}}),
    ("/login/", {"email": "ada@example.com", "pasword": SECRET}),
    ("/refresh/", {"refresh": SECRET}),
    ("/refresh/", {"refresh": [SECRET]}),
    ("/users/{id}/password", {"password": SECRET, "current_password": SECRET}),
    ("/users/{id}/password", {"password": SECRET * 20}),
]


async def test_no_refusal_and_no_log_line_repeats_a_password(
    client: httpx.AsyncClient,
    user: Person,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path, body in REFUSED:
        url = path.format(id=user.id)
        response = await client.post(url, json=body, headers=user.headers)
        assert response.status_code in (401, 422), (path, body)
        assert SECRET not in response.text, (path, body)
        assert SECRET not in caplog.text, (path, body)
        output = capsys.readouterr()
        assert SECRET not in output.out + output.err, (path, body)


async def test_a_broken_body_is_not_repeated(client: httpx.AsyncClient) -> None:
    response = await client.post(
        "/login/",
        content=f'{{"password": "{SECRET}"',
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == 422
    assert SECRET not in response.text


async def test_a_refusal_stays_short_however_much_is_wrong(
    client: httpx.AsyncClient,
) -> None:
    body = {f"field{number}": 1 for number in range(1000)}
    response = await client.post("/login/", json=body)
    assert response.status_code == 422
    assert len(response.json()["errors"]) == 20
