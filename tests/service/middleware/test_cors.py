import httpx
import pytest

from app.config import Settings
from app.errors import StartupError
from app.main import create_app
from tests.environment import settings_from

ORIGIN = "https://app.example.com"


async def preflight(settings: Settings, origins: tuple[str, ...]) -> httpx.Response:
    app = create_app(settings.model_copy(update={"cors_origins": origins}))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://service"
    ) as client:
        return await client.options(
            "/users/me",
            headers={
                "Origin": ORIGIN,
                "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "Authorization",
            },
        )


@pytest.mark.parametrize("origins", [(ORIGIN,), ("*",)])
async def test_pages_of_the_chosen_origins_may_call(
    settings: Settings, origins: tuple[str, ...]
) -> None:
    answer = await preflight(settings, origins)

    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] in origins
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize("origins", [(), ("https://other.example.com",)])
async def test_no_other_page_may(settings: Settings, origins: tuple[str, ...]) -> None:
    answer = await preflight(settings, origins)

    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_cookies_come_along_when_asked(settings: Settings) -> None:
    answer = await preflight(settings, (ORIGIN,))
    assert "Access-Control-Allow-Credentials" not in answer.headers

    asked = settings.model_copy(update={"cors_credentials": True})
    answer = await preflight(asked, (ORIGIN,))
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"


def test_cookies_and_any_origin_do_not_go_together() -> None:
    with (
        pytest.raises(StartupError, match=r"CORS_ORIGINS='\*' .* CORS_CREDENTIALS"),
        settings_from(
            CORS_CREDENTIALS="true", CORS_ORIGINS="*", DATABASE_URL="sqlite:///app.db"
        ),
    ):
        pass
