"""The page's login and the API's are limited together."""

from collections.abc import Iterator

import httpx
import pytest

from app.config import Settings
from tests.environment import settings_from
from tests.people import Person
from tests.test_pages import Browser, Page


@pytest.fixture
def settings(database_url: str) -> Iterator[Settings]:
    with settings_from(
        DATABASE_URL=database_url, RATE_LIMIT_ENABLED="true", RATE_LIMIT_LOGIN=""
    ) as settings:
        yield settings


async def test_wrong_passwords_make_the_next_login_wait(
    browser: Browser, client: httpx.AsyncClient, admin: Person
) -> None:
    wrong = Person(admin.id, admin.email, "wrong horse battery staple")
    answers = [await browser.log_in(wrong) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    refused = await browser.log_in(admin)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert "Too many wrong passwords" in Page(refused).text
    credentials = {"email": admin.email, "password": admin.password}
    assert (await client.post("/login/", json=credentials)).status_code == 429
