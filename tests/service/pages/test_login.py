"""Who gets to the pages, and for how long."""

import re
from collections.abc import Awaitable, Callable

import httpx
import pytest
from fastapi import FastAPI

from app.config import Settings
from app.database import Database
from app.main import create_app
from app.managers.user import UserManager
from app.models import Role
from tests.asgi import lifespan
from tests.environment import settings_from
from tests.people import MakeUser, Person
from tests.test_pages import Browser, Page


def cookies(answer: httpx.Response) -> dict[str, str]:
    found = answer.headers.get_list("set-cookie")
    return {text.partition("=")[0]: text.partition("; ")[2] for text in found}


@pytest.mark.parametrize(
    "where",
    [
        *("https://evil.example", "//evil.example", "/\\evil.example", "/cache/../x"),
        *("/%5cevil.example", "/cache?x=//evil.example", "javascript:alert(1)", "/"),
        "/cache%0d%0aX:y",
    ],
)
async def test_a_login_leads_nowhere_else(
    browser: Browser, admin: Person, where: str
) -> None:
    answer = await browser.log_in(admin, f"?next={where}")
    assert answer.headers["location"] == "/admin/cache"


async def test_an_unknown_user_and_a_wrong_password_look_the_same(
    browser: Browser, admin: Person
) -> None:
    answers = []
    for email, password in [
        (admin.email, "wrong horse battery staple"),
        ("nobody@example.com", admin.password),
        ("no address", admin.password),
    ]:
        answer = await browser.log_in(Person(0, email, password))
        assert answer.status_code == 401
        assert "set-cookie" in answer.headers
        assert "admin-session" not in cookies(answer)
        answers.append(answer.text.replace(email, "…"))
    assert len(set(answers)) == 1
    assert "The e-mail address or the password is wrong." in answers[0]


async def test_the_cookie_is_for_this_site_only_and_for_no_script(
    browser: Browser, admin: Person, settings: Settings
) -> None:
    set_ = cookies(await browser.log_in(admin))
    assert set_["admin-session"] == (
        f"HttpOnly; Max-Age={settings.access_token_ttl}; Path=/; SameSite=strict"
    )


async def test_by_https_or_in_production_the_cookie_is_secure(
    database_url: str, admin: Person
) -> None:
    for environment, scheme in [("test", "https"), ("production", "http")]:
        with settings_from(
            DATABASE_URL=database_url, ENVIRONMENT=environment
        ) as settings:
            app = create_app(settings)
            transport = httpx.ASGITransport(app)
            async with (
                lifespan(app),
                httpx.AsyncClient(
                    transport=transport, base_url=f"{scheme}://service"
                ) as client,
            ):
                first = await client.get("/admin/login")
                sent = {
                    "Origin": f"{scheme}://service",
                    "Cookie": first.headers["set-cookie"].partition(";")[0],
                }
                fields = {
                    "csrf": Page(first).csrf,
                    "email": admin.email,
                    "password": admin.password,
                }
                answer = await client.post("/admin/login", data=fields, headers=sent)
        assert answer.status_code == 303, answer.text
        about = cookies(answer)["__Host-admin-session"]
        assert about.endswith("Path=/; SameSite=strict; Secure")
        assert "Domain" not in about


async def test_a_banned_user_is_told_at_the_login(
    browser: Browser, make_user: MakeUser, admin: Person
) -> None:
    answer = await browser.log_in(await make_user(Role.admin, banned=True))
    assert answer.status_code == 403
    assert "This user is banned." in Page(answer).text


Change = Callable[[UserManager, Person], Awaitable[object]]
CHANGES: dict[str, tuple[Change, int]] = {
    "ban": (lambda users, person: users.ban(person.id), 303),
    "demotion": (lambda users, person: users.demote(person.id), 403),
    "deletion": (lambda users, person: users.delete(person.id), 303),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_of_the_user_acts_on_the_next_request(
    browser: Browser,
    make_user: MakeUser,
    admin: Person,
    database: Database,
    settings: Settings,
    name: str,
) -> None:
    change, status = CHANGES[name]
    person = await make_user(Role.admin)  # not the last one
    await browser.logged_in(person)
    await browser.cache()
    async with database.session() as session:
        await change(UserManager(session, settings), person)
    assert (await browser.get("/admin/cache")).status_code == status


async def test_a_new_password_ends_the_login(
    browser: Browser, client: httpx.AsyncClient, admin: Person
) -> None:
    await browser.logged_in(admin)
    await browser.cache()
    fields = {
        "password": "another long horse battery",
        "current_password": admin.password,
    }
    answer = await client.post(
        f"/users/{admin.id}/password", json=fields, headers=admin.headers
    )
    assert answer.is_success, answer.text
    assert (await browser.get("/admin/cache")).status_code == 303


async def test_a_logout_ends_the_session_not_only_the_cookie(
    browser: Browser, client: httpx.AsyncClient, admin: Person
) -> None:
    await browser.logged_in(admin)
    stolen = dict(client.cookies)
    csrf = (await browser.cache()).csrf
    answer = await browser.post("/admin/logout", {"csrf": csrf})
    assert answer.headers["location"] == "/admin/login"
    assert "admin-session" not in client.cookies
    client.cookies.update(stolen)
    assert (await browser.get("/admin/cache")).status_code == 303


async def test_each_page_tells_the_browser_what_it_may_do(
    browser: Browser, admin: Person
) -> None:
    await browser.logged_in(admin)
    for path in ("/admin/login", "/admin/cache", "/admin/none"):
        answer = await browser.get(path)
        assert answer.headers["content-type"].startswith("text/html"), path
        assert answer.headers["cache-control"] == "no-store"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "style=" not in answer.text
        assert "<script>" not in answer.text


async def test_below_a_root_path_all_links_lead_there(
    database_url: str, admin: Person
) -> None:
    with settings_from(DATABASE_URL=database_url, ROOT_PATH="/api") as settings:
        app = create_app(settings)
        transport = httpx.ASGITransport(app)
        async with (
            lifespan(app),
            httpx.AsyncClient(transport=transport, base_url="http://service") as client,
        ):
            asked = await client.get("/admin/cache")
            assert asked.headers["location"] == "/api/admin/login?next=/cache"
            form = await client.get("/api/admin/login")
            fields = {
                "csrf": Page(form).csrf,
                "email": admin.email,
                "password": "wrong horse battery staple",
            }
            origin = {"Origin": "http://service"}
            for status in (401, 303):
                answer = await client.post(
                    "/api/admin/login", data=fields, headers=origin
                )
                assert answer.status_code == status, answer.text
                fields["password"] = admin.password
            assert answer.headers["location"] == "/api/admin/cache"
            page = await client.get("/api/admin/cache")
    links = re.findall(r'(?:href|src|action|data-page)="([^"]+)"', page.text)
    assert len(links) >= 6
    assert all(link.startswith("/api/admin/") for link in links)


def test_the_pages_are_in_no_documentation(app: FastAPI) -> None:
    assert not [path for path in app.openapi()["paths"] if "admin" in path.split("/")]
