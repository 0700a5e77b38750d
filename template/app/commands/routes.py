"""`api-admin routes`: who may call what, and what is cached, read off the app."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from app.commands.console import print_json, print_table, say

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.dependencies.models import Dependant

    from app.cache import CachePolicy
    from app.managers.auth import AuthManager

app = typer.Typer()


class RouteInfo(NamedTuple):
    """One row of the table, and what only the JSON has room for."""

    method: str
    path: str
    auth: str
    scopes: list[str]
    cache: str
    key_builder: str


@app.command(
    epilog="""[bold]Examples[/bold]

  api-admin routes               all of them
  api-admin routes users/keys    those whose path has this text
  api-admin routes --json        for a script"""
)
def routes(
    text: Annotated[str, typer.Argument(help="Only paths that have this text.")] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list instead of a table.")
    ] = False,
) -> None:
    """List the routes: who may call them, with which scopes, and what is cached."""
    from app.config import get_settings
    from app.main import create_app

    rows = [row for row in describe(create_app(get_settings())) if text in row.path]
    if as_json:
        print_json([row._asdict() for row in rows])
    elif not rows:
        say(f"No path has {text!r}; see all of them with: api-admin routes")
    else:
        print_table(
            ["Method", "Path", "Auth", "Scopes", "Cache"], (row[:5] for row in rows)
        )


def describe(service: FastAPI) -> Iterator[RouteInfo]:
    """Walk the routes of the app, in the order in which they match."""
    from fastapi.routing import APIRoute, iter_route_contexts

    from app.cache import cache_policy

    for route in iter_route_contexts(service.routes):
        if not isinstance(route.original_route, APIRoute):
            continue
        guard = find_guard(route.dependant)
        policy = cache_policy(route.original_route.endpoint)
        for method in sorted(route.methods or ()):
            yield RouteInfo(
                method=method,
                path=route.path or "",
                auth=who(guard),
                scopes=needed_scopes(guard),
                cache=cache_text(policy),
                key_builder=(policy.key_builder_name or "") if policy else "",
            )


def find_guard(dependant: Dependant) -> AuthManager | None:
    """The dependency that checks the caller, wherever it hangs in the tree."""
    from app.managers.auth import AuthManager

    if isinstance(dependant.call, AuthManager):
        return dependant.call
    guards = (find_guard(each) for each in dependant.dependencies)
    return next((guard for guard in guards if guard), None)


def who(guard: AuthManager | None) -> str:
    from app.managers.auth import SelfOrAdmin

    if guard is None:
        return "anyone"
    if isinstance(guard, SelfOrAdmin):
        return "self or admin"
    return "admin" if guard.admin else "user"


def needed_scopes(guard: AuthManager | None) -> list[str]:
    """What a token or API key needs; of "self or admin" one for each."""
    from app.managers.auth import SelfOrAdmin

    if guard is None:
        return []
    own = [guard.own_scope] if isinstance(guard, SelfOrAdmin) else []
    return [*own, *guard.scopes]


def cache_text(policy: CachePolicy | None) -> str:
    """In which namespace and how long an answer is cached."""
    if policy is None:
        return ""
    lives = "default TTL" if policy.expire is None else f"{policy.expire} s"
    return f"{policy.namespace}, {lives}" if policy.namespace else lives
