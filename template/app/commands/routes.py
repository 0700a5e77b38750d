"""`api-admin routes`: who may call what, and what is cached, read off the app."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from app.commands.console import (
    AsUser,
    WithHeaders,
    fields_of,
    print_json,
    print_table,
    say,
)
from app.commands.refusals import Misused, Refused

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.cache import CachePolicy

app = typer.Typer()


class RouteInfo(NamedTuple):
    """One row of the table, and what only the JSON has room for: see `Access`."""

    method: str
    path: str
    auth: str
    scopes: list[str]
    cache: str
    key_builder: str
    api_keys: str
    declared: bool

    def cells(self) -> tuple[object, ...]:
        """The row of the table, in which "OPEN" marks what may be an oversight."""
        auth = self.auth if self.declared else "OPEN: not declared"
        scopes: object = self.scopes
        if self.api_keys == "none":
            scopes = ", ".join([*self.scopes, "no API key"])
        elif self.api_keys == "any" and self.auth != "anyone":
            scopes = "OPEN: any API key"
        return self.method, self.path, auth, scopes, self.cache


@app.command(
    epilog="""[bold]Examples[/bold]

  api-admin routes               all of them
  api-admin routes users/keys    those whose path has this text
  api-admin routes --open        what anyone, or any API key, may call
  api-admin routes --json        for a script

  api-admin routes --measure --user ann@example.com
  api-admin routes --measure --user 1 --url "/users/?user_id=7" --url /users/me"""
)
def routes(
    text: Annotated[str, typer.Argument(help="Only paths that have this text.")] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list instead of a table.")
    ] = False,
    only_open: Annotated[
        bool, typer.Option("--open", help="Only what anyone or any API key may call.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure what the cache saves, or costs.")
    ] = False,
    url: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL", help="Measure this, as in /users/?page=2. Repeatable."
        ),
    ] = None,
    user: AsUser = None,
    header: WithHeaders = None,
) -> None:
    """List the routes: who may call them, with which scopes, and what is cached.

    OPEN marks what may be an oversight: a route that does not say who may call it, so
    that anyone may, and one that any API key may use, whatever its scopes.

    With [bold]--measure[/bold], see what a hit costs beside the handler that it spares:
    microseconds of processor time for one request that has the service to itself,
    without the network and the check of credentials. A cached GET is sent up to 200
    times, half of them past the cache (Cache-Control: no-store), which takes about a
    second. It is run in this process, on the service's own data. Where a hit is not
    much cheaper than its handler, more hits tell which part of them is the dearest.

    Other programs disturb it: measure twice before you act on a result. An address
    whose parameters have no defaults has to be given with [bold]--url[/bold]; then only
    what is given is measured.
    """
    if measure:
        # Only a service with a cache has that package.
        if find_spec("app.commands.cache") is None:
            raise Refused("This service has no cache, so there is no hit to measure.")
        measuring = import_module("app.commands.cache.measure")
        headers = fields_of(header)
        measuring.measure_routes(text, url or (), user, headers, as_json=as_json)
        return
    if url or user or header:
        raise Misused("--url, --user and --header are for --measure: add it")

    from app.commands.running import settings_for_people
    from app.main import create_app

    rows = [
        row
        for row in describe(create_app(settings_for_people()))
        if text in row.path and (not only_open or row.api_keys == "any")
    ]
    if as_json:
        print_json([row._asdict() for row in rows])
    elif not rows and only_open:
        say("No such route is open; see all of them with: api-admin routes")
    elif not rows:
        say(f"No path has {text!r}; see all of them with: api-admin routes")
    else:
        print_table(
            ["Method", "Path", "Auth", "Scopes", "Cache"], (row.cells() for row in rows)
        )


def describe(service: FastAPI) -> Iterator[RouteInfo]:
    """Walk the routes of the app, in the order in which they match."""
    from app.cache import cache_policy
    from app.resources.dependencies import access_of, walk

    for path, route in walk(service.routes):
        access = access_of(route)
        policy = cache_policy(route.endpoint) if route.endpoint else None
        for method in sorted(route.methods or {"ANY"}):
            yield RouteInfo(
                method=method,
                path=path,
                auth=access.auth,
                scopes=access.scopes,
                cache=cache_text(policy),
                key_builder=(policy.key_builder_name or "") if policy else "",
                api_keys=access.api_keys,
                declared=access.declared,
            )


def cache_text(policy: CachePolicy | None) -> str:
    """In which namespace and how long an answer is cached."""
    if policy is None:
        return ""
    lives = "default TTL" if policy.expire is None else f"{policy.expire} s"
    return f"{policy.namespace}, {lives}" if policy.namespace else lives
