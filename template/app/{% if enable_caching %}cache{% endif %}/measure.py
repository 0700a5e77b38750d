"""`api-admin routes --measure`: which routes a hit serves more cheaply."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import httpx
from fastapi import FastAPI

from app.cache.caller import act_as, cached_routes, quiet_app
from app.cache.costs import Cost, NotMeasured, cost_of, outcome
from app.commands.cache import cache_settings
from app.commands.console import hint, print_json, print_table, say
from app.commands.running import ready_database
from app.config import Settings
from app.errors import PROBLEM_MEDIA_TYPE

HEADINGS = ["Path", "Handler, µs", "Hit, µs", "Hit / handler", "Rounds", "Remark"]
DEARER = "dearer than its handler: do not cache it"
NO_DIFFERENCE = "no difference: the cache saves nothing"
MARGIN = 0.05  # less is noise, or not worth a thought


class Row(NamedTuple):
    """What was found out about a path; without a cost, the remark says why."""

    path: str
    cost: Cost | None
    remark: str = ""


def measure_routes(
    text: str, urls: Sequence[str], who: str | None, *, as_json: bool
) -> None:
    """Measure the URLs, or else all cached GETs, as a user, and print what it costs.

    Only paths that have the text. Raises Refused when caching is off.
    """
    settings = cache_settings()
    with ready_database(settings):
        rows = asyncio.run(_measure(settings, text, urls, who))
    if as_json:
        print_json([_for_scripts(row) for row in rows])
    elif rows:
        print_table(HEADINGS, map(_for_people, rows))
    else:
        say(f"No cached path has {text!r}; see all of them with: api-admin routes")


def verdict(cost: Cost) -> str:
    """Return what speaks against caching; nothing where it saves work."""
    if abs(cost.ratio - 1) <= MARGIN:
        return NO_DIFFERENCE
    return DEARER if cost.ratio > 1 else ""


async def _measure(
    settings: Settings, text: str, urls: Sequence[str], who: str | None
) -> list[Row]:
    app = quiet_app(settings)
    async with app.router.lifespan_context(app):
        if who:
            await act_as(app, who)
        wanted = urls or list(_cached_paths(app))
        return [await _row(app, url, who) for url in wanted if text in url]


def _cached_paths(app: FastAPI) -> Iterator[str]:
    for route, _ in cached_routes(app):
        if "GET" in (route.methods or ()):
            yield route.path or ""


async def _row(app: FastAPI, url: str, who: str | None) -> Row:
    if names := re.findall(r"{(\w+)", url.partition("?")[0]):
        return Row(url, None, f"not measured: {_needs(names)}")
    hint(f"Measuring GET {url}")
    try:
        cost = await cost_of(app, url)
    except NotMeasured as other:
        return Row(url, None, f"not measured: {_reason(other.response, who)}")
    except httpx.InvalidURL as error:
        return Row(url, None, f"not measured: {error}")
    return Row(url, cost, verdict(cost))


def _needs(names: Sequence[str]) -> str:
    return f"needs {', '.join(names)}; give an address that has it with --url"


def _reason(response: httpx.Response, who: str | None) -> str:
    """Say why there was no hit, or no run of the handler."""
    match response.status_code, outcome(response):
        case ((401 | 403 as status), _):
            if who:
                return f"needs another --user; to {who} it answers {status}"
            return f"needs --user; without one it answers {status}"
        case 422, _ if missing := _missing(response):
            return _needs(missing)
        case 200, "FALLBACK":
            return "the cache does not work now; see: api-admin cache status"
        case 200, "MISS":
            return "its answer is not stored"
        case 200, _:
            return "it gets to no cached route; see them with: api-admin routes"
        case status, _:
            return f"it answers {status}"


def _missing(response: httpx.Response) -> list[str]:
    """Return the parameters of the query that the route says it lacks."""
    if response.headers.get("content-type") != PROBLEM_MEDIA_TYPE:
        return []
    errors = response.json().get("errors", [])
    places = [error["loc"] for error in errors if error["type"] == "missing"]
    return [place[-1] for place in places if place[0] == "query"]


def _for_people(row: Row) -> tuple[str, ...]:
    if row.cost is None:
        return (row.path, "", "", "", "", row.remark)
    return (
        row.path,
        f"{row.cost.handler * 1e6:,.0f}",
        f"{row.cost.hit * 1e6:,.0f}",
        f"{row.cost.ratio:.2f} ×",
        str(row.cost.rounds),
        row.remark,
    )


def _for_scripts(row: Row) -> dict[str, str | float | None]:
    cost = row.cost
    return {
        "path": row.path,
        "handler_us": round(cost.handler * 1e6, 1) if cost else None,
        "hit_us": round(cost.hit * 1e6, 1) if cost else None,
        "hit_per_handler": round(cost.ratio, 3) if cost else None,
        "rounds": cost.rounds if cost else None,
        "remark": row.remark,
    }
