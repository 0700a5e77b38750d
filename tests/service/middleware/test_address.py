"""The service behind a proxy: its prefix, its host names, and who is believed."""

import logging
from typing import Any, cast

import httpx
import pytest
from fastapi import Request
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app import logs
from app.config import Settings
from app.main import create_app


def client(settings: Settings, **update: object) -> httpx.AsyncClient:
    app = create_app(settings.model_copy(update=update))

    @app.get("/where/")
    async def where(request: Request) -> list[str]:
        return [str(request.url), request.client.host if request.client else ""]

    # uvicorn and httpx spell the types of ASGI in their own ways.
    trusted = list(settings.forwarded_allow_ips)
    proxied: Any = ProxyHeadersMiddleware(cast(Any, app), trusted_hosts=trusted)
    transport = httpx.ASGITransport(proxied)
    return httpx.AsyncClient(transport=transport, base_url="http://api.example.com")


@pytest.mark.parametrize("path", ["/api/where", "/where"])
async def test_redirects_keep_prefix_scheme_and_host(
    settings: Settings, path: str
) -> None:
    """Whether or not the proxy takes the prefix off."""
    async with client(settings, root_path="/api") as proxy:
        answer = await proxy.get(path, headers={"X-Forwarded-Proto": "https"})
        assert answer.status_code == 307
        assert answer.headers["Location"] == "https://api.example.com/api/where/"

        answer = await proxy.get(f"{path}/")
        assert answer.json()[0] == "http://api.example.com/api/where/"


async def test_the_documentation_knows_the_prefix(settings: Settings) -> None:
    async with client(settings, root_path="/api") as proxy:
        assert "/api/openapi.json" in (await proxy.get("/docs")).text
        schema = (await proxy.get("/openapi.json")).json()

    assert schema["servers"] == [{"url": "/api"}]


async def test_a_path_that_only_begins_like_the_prefix_gets_it(
    settings: Settings,
) -> None:
    async with client(settings, root_path="/wh") as proxy:
        assert (await proxy.get("/where/")).json()[0].endswith("/wh/where/")


async def test_clients_are_told_by_trusted_proxies_only(settings: Settings) -> None:
    told = {"X-Forwarded-For": "203.0.113.7"}
    async with client(settings) as proxy:
        assert (await proxy.get("/where/", headers=told)).json()[1] == "203.0.113.7"

    stranger = settings.model_copy(update={"forwarded_allow_ips": ("10.0.0.0/8",)})
    async with client(stranger) as proxy:
        assert (await proxy.get("/where/", headers=told)).json()[1] == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        ("api.example.com", "/", 200),
        ("api.example.com:8000", "/", 200),
        ("a.example.org", "/", 200),
        ("evil.example.com", "/", 400),
        ("10.0.0.7:8000", "/livez", 200),
    ],
)
async def test_other_hosts_are_refused_but_for_probes(
    settings: Settings, host: str, path: str, status: int
) -> None:
    names = ("api.example.com", "*.example.org")
    async with client(settings, allowed_hosts=names) as proxy:
        answer = await proxy.get(path, headers={"Host": host})

    assert answer.status_code == status


async def test_the_refusal_of_another_host_is_a_problem_with_its_id_in_the_log(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    async with client(
        settings, root_path="/api", allowed_hosts=("api.example.com",)
    ) as proxy:
        answer = await proxy.get("/api/docs", headers={"Host": "evil.example.com"})
        assert (await proxy.get("/livez", headers={"Host": "10.0.0.7"})).is_success

    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "evil" not in answer.text
    line = capsys.readouterr().err.splitlines()[0]
    assert "400 (" in line
    assert line.endswith(answer.headers["X-Request-ID"])


async def test_production_is_told_that_it_answers_for_any_host(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logs.SERVER.name)
    create_app(settings.model_copy(update={"environment": "production"}))
    assert "ALLOWED_HOSTS is empty" in caplog.text

    caplog.clear()
    named = {"environment": "production", "allowed_hosts": ("api.example.com",)}
    create_app(settings.model_copy(update=named))
    create_app(settings)
    assert "ALLOWED_HOSTS" not in caplog.text
