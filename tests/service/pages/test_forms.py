"""No form is taken that our own page did not send."""

import httpx
import pytest

from tests.people import Person
from tests.test_pages import Browser, Page

FORMS = ["/admin/logout", "/admin/cache/clear", "/admin/cache/explain"]


@pytest.mark.parametrize("path", FORMS)
async def test_a_form_needs_the_token_of_its_session(
    browser: Browser, client: httpx.AsyncClient, admin: Person, path: str
) -> None:
    await browser.logged_in(admin)
    of_older = (await browser.cache()).csrf
    await browser.logged_in(admin)
    for csrf in ({}, {"csrf": ""}, {"csrf": "é"}, {"csrf": of_older}):
        answer = await browser.post(path, {"namespace": "users", "url": "/", **csrf})
        assert answer.status_code == 403, csrf
    await browser.cache()  # still logged in


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://service.evil"]
)
async def test_a_form_of_another_site_is_refused(
    browser: Browser, admin: Person, path: str, origin: str
) -> None:
    await browser.logged_in(admin)
    csrf = (await browser.cache()).csrf
    fields = {"csrf": csrf, "namespace": "users", "url": "/"}
    answer = await browser.post(path, fields, origin=origin)
    assert answer.status_code == 403
    assert "another site" in Page(answer).text
    await browser.cache()


async def test_the_form_of_the_login_needs_its_cookie(
    browser: Browser, client: httpx.AsyncClient, admin: Person
) -> None:
    csrf = Page(await browser.get("/admin/login")).csrf
    client.cookies.clear()
    fields = {"csrf": csrf, "email": admin.email, "password": admin.password}
    answer = await browser.post("/admin/login", fields)
    assert answer.status_code == 403
    assert "cookie" in Page(answer).text
    again = await browser.post("/admin/login", fields)  # with a new cookie
    assert again.status_code == 403
    assert "admin-session" not in client.cookies


async def test_what_is_no_form_is_refused(
    browser: Browser, client: httpx.AsyncClient, admin: Person
) -> None:
    await browser.logged_in(admin)
    answer = await client.post(
        "/admin/cache/clear", content=b"\xff%zz", headers={"Origin": "http://service"}
    )
    assert answer.status_code == 400
