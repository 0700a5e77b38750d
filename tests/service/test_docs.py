"""The pages /docs and /redoc, as a browser loads them."""

import re
from base64 import b64encode
from hashlib import sha256

import httpx
import pytest
from fastapi import FastAPI

from app.config import Settings
from app.main import create_app
from tests.environment import settings_from

PAGES = {
    "/docs": {"swagger-ui-bundle.js", "swagger-ui.css", "favicon.png", "openapi.json"},
    "/redoc": {"redoc.standalone.js", "favicon.png", "openapi.json"},
}


def addresses(page: str) -> list[str]:
    """Return what a browser loads for a page."""
    return re.findall(r"""(?:(?:src|href|spec-url)=|\burl: )["']([^"']+)""", page)


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_loads_nothing_from_another_host(
    path: str, client: httpx.AsyncClient
) -> None:
    page = await client.get(path)

    assert "//" not in re.sub(r"// .*|<!--.*?-->", "", page.text)
    assert {name.rpartition("/")[2] for name in addresses(page.text)} == PAGES[path]
    for address in addresses(page.text):
        assert (await client.get(address)).status_code == 200, address


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_works_below_the_path_of_a_proxy(path: str, app: FastAPI) -> None:
    transport = httpx.ASGITransport(app, root_path="/shop")
    async with httpx.AsyncClient(
        transport=transport, base_url="http://service"
    ) as client:
        page = await client.get(path)

    assert addresses(page.text)
    for address in addresses(page.text):
        assert address.startswith("/shop/"), address


async def test_redoc_finds_its_logo_below_its_page(client: httpx.AsyncClient) -> None:
    script = await client.get("/docs/redoc/redoc.standalone.js")
    assert 'window.location.pathname+"/logo-mini.svg"' in script.text

    logo = await client.get("/redoc/logo-mini.svg")
    assert logo.headers["content-type"] == "image/svg+xml"


async def test_a_file_is_sent_again_only_when_it_has_changed(
    client: httpx.AsyncClient,
) -> None:
    address = "/docs/swagger/swagger-ui.css"
    sent = await client.get(address)
    assert sent.headers["cache-control"] == "no-cache"

    known = {"If-None-Match": sent.headers["etag"]}
    assert (await client.get(address, headers=known)).status_code == 304


@pytest.mark.parametrize(
    "path", ["/docs/%2e%2e/__init__.py", "/docs/swagger", "/docs/swagger/none.js"]
)
async def test_nothing_else_is_served(path: str, client: httpx.AsyncClient) -> None:
    assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize("path", [*PAGES, "/docs/oauth2-redirect"])
async def test_a_page_may_run_its_own_scripts_only(
    path: str, client: httpx.AsyncClient
) -> None:
    page = await client.get(path)
    policy = page.headers["Content-Security-Policy"]
    (allowed,) = [p for p in policy.split("; ") if p.startswith("script-src ")]

    scripts = re.findall(r"<script[^>]*>(.*?)</script>", page.text, re.S)
    for script in filter(None, scripts):
        digest = b64encode(sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in allowed
    assert "unsafe" not in allowed


@pytest.mark.parametrize(
    ("environment", "asked", "status"),
    [
        ("development", "", 200),
        ("production", "", 404),
        ("production", "true", 200),
        ("development", "false", 404),
    ],
)
async def test_production_has_no_documentation_unless_asked(
    settings: Settings, environment: str, asked: str, status: int
) -> None:
    with settings_from(
        DATABASE_URL=settings.database_url, ENVIRONMENT=environment, API_DOCS=asked
    ) as settings:
        transport = httpx.ASGITransport(create_app(settings))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://service"
    ) as client:
        for path in (*PAGES, "/openapi.json"):
            assert (await client.get(path)).status_code == status, path
        docs = "/docs" if status == 200 else None
        assert (await client.get("/")).json()["docs"] == docs
