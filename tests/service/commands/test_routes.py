"""api-admin routes."""

import json
import re
from typing import Any

from app.config import Settings
from app.main import create_app
from tests.servers.service import Run


def described(run: Run) -> dict[tuple[str, str], dict[str, Any]]:
    rows = json.loads(run("routes", "--json").stdout)
    return {(row["method"], row["path"]): row for row in rows}


def test_lists_every_route_of_the_app(run: Run, settings: Settings) -> None:
    documented = {
        (method.upper(), path)
        for path, methods in create_app(settings).openapi()["paths"].items()
        for method in methods
    }

    # OpenAPI leaves out what `{path:path}` has after the colon.
    listed = {(method, re.sub(r":\w+\}", "}", path)) for method, path in described(run)}
    assert listed >= documented


def test_says_who_may_call_with_which_scopes(run: Run) -> None:
    rows = described(run)

    def of(method: str, path: str) -> tuple[str, list[str]]:
        row = rows[method, path]
        return row["auth"], row["scopes"]

    assert of("GET", "/livez") == ("anyone", [])
    assert of("GET", "/users/me") == ("user", ["profile:read"])
    assert of("DELETE", "/users/{user_id}") == ("admin", ["users:write"])
    assert of("POST", "/logout/") == ("user", [])
    assert rows["POST", "/logout/"]["api_keys"] == "none"
    assert rows["GET", "/users/me"]["api_keys"] == "by scope"
    assert of("PUT", "/users/{user_id}") == (
        "self or admin",
        ["profile:write", "users:write"],
    )


def test_shows_only_the_paths_that_are_asked_for(run: Run) -> None:
    shown = run("routes", "/login").stdout
    assert "/login/" in shown
    assert "/logout/" not in shown
    assert "api-admin routes" in run("routes", "nonsense").stdout


def test_shows_what_is_open(run: Run) -> None:
    shown = run("routes", "--open").stdout
    assert "/login/" in shown
    assert "/users/me" not in shown
    assert "No such route" in run("routes", "--open", "/users/me").stdout
    rows = json.loads(run("routes", "--open", "--json").stdout)
    assert {row["api_keys"] for row in rows} == {"any"}


def test_help_teaches_how_to_measure(run: Run) -> None:
    shown = " ".join(run("routes", "--help").stdout.split())
    assert "microseconds of processor time" in shown
    assert "measure twice" in shown
    assert "api-admin routes --measure --user ann@example.com" in shown


def test_options_of_the_measurement_are_of_no_use_without_it(run: Run) -> None:
    for option in (("--url", "/users/me"), ("--user", "1")):
        result = run("routes", *option)
        assert result.exit_code == 2
        assert "--measure" in result.stderr
