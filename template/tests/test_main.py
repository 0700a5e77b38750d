import subprocess
import sys

import pytest

from app.errors import StartupError
from app.main import create_app
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

    def test_ends_any_server_with_one_line(
        self, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", empty_database_url)
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "uvicorn", "--port", "0"),
                *("--factory", "app.main:create_app"),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode != 0
        assert "run: api-admin db upgrade" in ended.stderr
        assert "Traceback" not in ended.stderr


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
