import logging

import httpx
import pytest

from app.errors import StartupError
from app.logs import REQUESTS
from app.main import MAX_BODY_SIZE, create_app
from app.middleware.headers import SECURITY
from tests.asgi import lifespan
from tests.environment import settings_from


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
