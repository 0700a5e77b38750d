"""api-admin cache, whatever the backend."""

import json

import httpx
import pytest

from app.config import get_settings
from tests.servers.service import Run, refusal


def profile(run: Run, server: str, user: str) -> httpx.Client:
    """Return a client that reads the user's profile, which is cached."""
    key = run("keys", "create", user, "--name", "script").stdout.strip()
    return httpx.Client(base_url=server, headers={"X-API-Key": key})


def test_explains_under_which_key_an_answer_is_cached(run: Run, ada: str) -> None:
    shown = json.loads(
        run("cache", "explain", "/users/me", "--user", ada, "--json").stdout
    )

    assert shown["route"] == "GET /users/me"
    assert shown["cached by"] == "user_scoped_key_builder"
    assert shown["key"] == "user:1:me"


def test_explains_why_an_answer_is_not_cached(run: Run, ada: str) -> None:
    assert "answers 401" in refusal(run("cache", "explain", "/users/me"))
    assert "no cached route" in refusal(run("cache", "explain", "/livez"))
    assert "answers 403" in refusal(run("cache", "explain", "/users/", "--user", ada))
    assert "no user" in refusal(run("cache", "explain", "/users/me", "--user", "9"))


def test_clears_the_cache_of_the_running_service(
    run: Run, ada: str, server: str
) -> None:
    with profile(run, server, ada) as client:
        answers = [client.get("/users/me") for _ in range(2)]
        assert [a.headers["x-fastapi-cache"] for a in answers] == ["MISS", "HIT"]
        done = run("cache", "clear", "user:1")
        assert done.stdout.startswith("Dropped ")
        assert done.stderr == ""
        assert client.get("/users/me").headers["x-fastapi-cache"] == "MISS"
        assert client.get("/users/me").headers["x-fastapi-cache"] == "HIT"
        assert run("cache", "clear").exit_code == 2  # it asks, and a pipe has no answer
        assert run("cache", "clear", "--yes").stdout.startswith("Dropped everything")
        assert client.get("/users/me").headers["x-fastapi-cache"] == "MISS"


@pytest.mark.parametrize("known", ["users:list:page", "users", "principal:1:key:x"])
def test_knows_what_routes_and_changes_name(run: Run, known: str) -> None:
    assert run("cache", "clear", known).stderr == ""


def test_clears_a_namespace_that_no_route_has_with_a_warning(run: Run) -> None:
    done = run("cache", "clear", "usrs:list")
    assert done.exit_code == 0
    assert "No cached route has the namespace usrs:list" in done.stderr
    assert "did you mean users:list?" in done.stderr
    assert "api-admin routes" in run("cache", "clear", "/zzz/").stderr


def test_refuses_a_header_that_is_none(run: Run) -> None:
    result = run("cache", "explain", "/users/me", "--header", "nonsense")
    assert result.exit_code == 2
    assert "no header" in result.stderr


def test_says_that_caching_is_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    get_settings.cache_clear()
    monkeypatch.setenv("CACHE_ENABLED", "false")

    assert "CACHE_ENABLED=true" in refusal(run("cache", "status"))
