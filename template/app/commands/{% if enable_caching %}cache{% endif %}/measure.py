"""`api-admin routes --measure`: which routes a hit serves more cheaply."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fastapi import FastAPI

from app.commands.cache import cache_settings
from app.commands.cache.caller import (
    Answer,
    Client,
    cached_routes,
    quiet_app,
    route_of,
    started,
)
from app.commands.cache.costs import (
    Cost,
    NotMeasured,
    Part,
    cost_of,
    dearest_part,
    outcome,
)
from app.commands.console import hint, print_json, print_table, say
from app.commands.running import ready_database
from app.config import Settings
from app.errors import PROBLEM_MEDIA_TYPE

HEADINGS = ["Path", "Handler, µs", "Hit, µs", "Hit / handler", "Rounds", "Remark"]
DEARER = "dearer than its handler: do not cache it"
NO_DIFFERENCE = "no difference: the cache saves nothing"
MARGIN = 0.05  # less is noise, or not worth a thought
CLEARLY_CHEAPER = 0.5  # a hit that costs less of its handler needs no remark
MUCH = 0.25  # of a hit: less is not what makes it dear


class Row(NamedTuple):
    """What was found out about a path; without a cost, the remark says why."""

    path: str
    cost: Cost | None
    remark: str = ""


def measure_routes(
    text: str,
    urls: Sequence[str],
    who: str | None,
    headers: Mapping[str, str],
    *,
    as_json: bool,
) -> None:
    """Measure the URLs, or else all cached GETs, as a user, and print what it costs.

    Each is asked with the headers. Only paths that have the text. Raises Refused when
    caching is off.
    """
    settings = cache_settings()
    with ready_database(settings):
        rows = asyncio.run(_measure(settings, text, urls, who, headers))
    if as_json:
        print_json([_for_scripts(row) for row in rows])
    elif rows:
        print_table(HEADINGS, map(_for_people, rows))
    else:
        say(f"No cached path has {text!r}; see all of them with: api-admin routes")


def verdict(cost: Cost, part: Part | None) -> str:
    """Return what speaks against caching, and why; nothing where it saves work."""
    if cost.ratio <= CLEARLY_CHEAPER:
        return ""
    found = ""
    if cost.ratio >= 1 - MARGIN:
        found = DEARER if cost.ratio > 1 + MARGIN else NO_DIFFERENCE
    if part is None or part.share < MUCH:
        return found
    return f"{found.partition(':')[0] or 'little cheaper than its handler'}: {part}"


async def _measure(
    settings: Settings,
    text: str,
    urls: Sequence[str],
    who: str | None,
    headers: Mapping[str, str],
) -> list[Row]:
    app = quiet_app(settings)
    async with started(app, who, headers) as client:
        wanted = urls or [
            each.path
            for each in cached_routes(app)
            if "GET" in (each.route.methods or ())
        ]
        return [await _row(app, client, url, who) for url in wanted if text in url]


async def _row(app: FastAPI, client: Client, url: str, who: str | None) -> Row:
    if names := re.findall(r"{(\w+)", url.partition("?")[0]):
        return Row(url, None, f"not measured: {_needs(names)}")
    hint(f"Measuring GET {url}")
    part = None
    try:
        cost = await cost_of(client, url)
    except NotMeasured as other:
        return Row(url, None, f"not measured: {_reason(app, other.answer, who)}")
    if cost.ratio > CLEARLY_CHEAPER:
        part = await dearest_part(app, client, url)
    return Row(url, cost, verdict(cost, part))


def _needs(names: Sequence[str]) -> str:
    return f"needs {', '.join(names)}; give an address that has it with --url"


def _reason(app: FastAPI, answer: Answer, who: str | None) -> str:
    """Say why there was no hit, or no run of the handler."""
    cached = route_of(app, answer.scope)
    why = f": {cached.reasons}" if cached is not None and cached.reasons else ""
    match answer.status, outcome(answer):
        case ((401 | 403 as status), _):
            if who:
                return f"needs another --user; to {who} it answers {status}"
            return f"needs --user; without one it answers {status}"
        case 422, _ if missing := _missing(answer, "query"):
            return _needs(missing)
        case 422, _ if missing := _missing(answer, "header"):
            return f"needs {', '.join(missing)}; give it with --header"
        case 200, "FALLBACK":
            return "the cache does not work now; see: api-admin cache status"
        case 200, "MISS" | "BYPASS":
            return f"its answer is not stored{why}"
        case 200, _ if cached is None:
            return "it gets to no cached route; see them with: api-admin routes"
        case 200, _:
            return f"the cache is not asked{why}"
        case status, _:
            return f"it answers {status}"


def _missing(answer: Answer, where: str) -> list[str]:
    """Return the parameters of the query, or the headers, that the route lacks."""
    if answer.headers.get("content-type") != PROBLEM_MEDIA_TYPE:
        return []
    errors = json.loads(answer.body).get("errors", [])
    places = [error["loc"] for error in errors if error["type"] == "missing"]
    return [place[-1] for place in places if place[0] == where]


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
