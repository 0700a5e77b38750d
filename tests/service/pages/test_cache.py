"""What /admin/cache shows and does."""

import httpx

from app.config import Settings
from app.main import create_app
from app.models import Role
from tests.asgi import lifespan
from tests.environment import settings_from
from tests.people import MakeUser, Person
from tests.test_pages import Browser


async def test_shows_what_was_invalidated_and_by_what(
    browser: Browser, client: httpx.AsyncClient, admin: Person
) -> None:
    await browser.logged_in(admin)
    profile = {"email": admin.email, "first_name": "Other", "last_name": "Name"}
    changed = await client.put(
        f"/users/{admin.id}", json=profile, headers=admin.headers
    )
    assert changed.status_code == 200, changed.text
    _, cause, names, _ = (await browser.cache()).tables["last-rows"][0]
    assert cause == "UPDATE users"
    assert f"users:{admin.id}:single" in names


async def test_clears_everything(
    browser: Browser, client: httpx.AsyncClient, admin: Person
) -> None:
    await browser.logged_in(admin)
    await client.get("/users/me", headers=admin.headers)
    csrf = (await browser.cache()).csrf
    fields = {"csrf": csrf, "namespace": "", "everything": "yes"}
    cleared = await browser.post("/admin/cache/clear", fields)
    assert "Dropped everything." in cleared.text
    answer = await client.get("/users/me", headers=admin.headers)
    assert answer.headers["x-fastapi-cache"] == "MISS"


async def test_says_what_a_misspelt_namespace_may_be_meant_for(
    browser: Browser, admin: Person
) -> None:
    await browser.logged_in(admin)
    csrf = (await browser.cache()).csrf
    for name, words in [
        ("people:list", "did you mean users:list?"),
        ("", "Type a namespace"),
        ("a\nb", "This is no namespace."),
        ("n" * 600, "This is no namespace."),
    ]:
        answer = await browser.post(
            "/admin/cache/clear", {"csrf": csrf, "namespace": name}
        )
        assert words in answer.text, name


async def test_shows_names_as_they_are(browser: Browser, admin: Person) -> None:
    await browser.logged_in(admin)
    csrf = (await browser.cache()).csrf
    fields = {"csrf": csrf, "namespace": "<script>alert(1)</script>"}
    answer = await browser.post("/admin/cache/clear", fields)
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text


async def test_explains_an_address(
    browser: Browser, client: httpx.AsyncClient, make_user: MakeUser
) -> None:
    admin, user = await make_user(Role.admin), await make_user()
    await browser.logged_in(admin)  # a new session makes older answers invalid
    await client.get("/users/me", headers=admin.headers)
    csrf = (await browser.cache()).csrf
    for url, who, words in [
        ("/users/me", "", [f"user:{admin.id}:me", "<dd>hit</dd>"]),
        ("/users/me", user.email, [f"user:{user.id}:me", "miss: nothing is stored"]),
        ("/livez", "", ["gets to no cached route"]),
        ("/users/me", "nobody@example.com", ["There is no user nobody@example.com"]),
        ("users/me", "", ["begins with a slash"]),
        ("--help", "", ["begins with a slash"]),
    ]:
        fields = {"csrf": csrf, "url": url, "user": who}
        answer = await browser.post("/admin/cache/explain", fields)
        assert answer.status_code == 200, answer.text
        assert all(each in answer.text for each in words), (url, who)


async def test_names_the_setting_without_which_nothing_is_counted(
    database_url: str, admin: Person
) -> None:
    with settings_from(DATABASE_URL=database_url, METRICS_TOKEN="") as settings:
        text = await page_with(settings, admin)
    assert "Nothing is counted" in text
    assert "METRICS_TOKEN" in text


async def page_with(settings: Settings, admin: Person) -> str:
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        browser = await Browser(client).logged_in(admin)
        return (await browser.cache()).text
