"""`api-admin cache`: what the running service has cached, and why."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import typer

from app.commands.console import (
    AsJson,
    AsUser,
    WithHeaders,
    Yes,
    confirm,
    fields_of,
    hint,
    print_json,
    print_record,
    print_table,
    say,
)
from app.commands.refusals import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from app.cache.engine.store import Shared
    from app.config import Settings

app = typer.Typer(
    name="cache",
    help="Look at the cache of the running service, or empty it.",
    epilog="""[bold]Examples[/bold]

  api-admin cache status
  api-admin cache explain /users/me --user ada@example.com
  api-admin cache clear users:list

What a hit saves, or costs: [bold]api-admin routes --measure[/bold]""",
    no_args_is_help=True,
)

T = TypeVar("T")

Namespace = Annotated[
    str, typer.Argument(help="As in users:list or user:5; without: everything.")
]
Url = Annotated[
    str, typer.Argument(help="A path with its query, as in /users/?page=2.")
]


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show where the cache is, whether it answers, and how quickly."""

    async def found(shared: Shared) -> dict[str, Any]:
        await shared.ping()
        start = time.perf_counter()
        await shared.ping()
        latency = f"{(time.perf_counter() - start) * 1000:.2f} ms"
        about = {"latency": latency, **await shared.describe()}
        return {**about, "processes": await shared.processes()}

    settings = cache_settings()
    shown: dict[str, Any] = {
        "prefix": settings.cache_prefix,
        "default TTL": f"{settings.cache_default_ttl} s",
        **look(store_of(settings), found),
    }
    if as_json:
        print_json(shown)
        return
    processes = shown.pop("processes")
    print_record(shown.items())
    if processes:
        names = list(next(iter(processes.values())))
        rows = [(who, *map(about.get, names)) for who, about in processes.items()]
        print_table(["Process", *(_heading(name) for name in names)], rows)


@app.command()
def stats(as_json: AsJson = False) -> None:
    """Count what is stored, and its bytes, by the first part of the keys.

    Entries are answers and values; versions are what makes whole namespaces of them
    invalid at once.
    """
    settings = cache_settings()
    hint("Reading all keys; a large cache takes a while.")
    store = store_of(settings)
    counts = look(store, lambda shared: count(shared, settings.cache_prefix))
    if as_json:
        print_json({name: each._asdict() for name, each in counts.items()})
        return
    if counts:
        print_table(
            ["Namespace", "Entries", "Versions", "Bytes"],
            (
                (name or "(everything)", *(f"{number:,}" for number in each))
                for name, each in counts.items()
            ),
        )
    if not any(each.entries for each in counts.values()):
        say("Nothing is cached. Read a cached route first: api-admin routes")


@app.command()
def clear(namespace: Namespace = "", yes: Yes = False) -> None:
    """Drop what is cached below a namespace, or everything.

    A cache in memory is always dropped whole.
    """
    from app.cache.engine.stored import warning
    from app.cache.invalidation import dropped
    from app.commands.cache.caller import quiet_app

    settings = cache_settings()
    store_of(settings)  # says what is wrong with its settings
    if not namespace:
        confirm("Drop everything that is cached?", yes=yes)
    else:
        quiet_app(settings)  # so that all that is cached is known
        if text := warning(namespace):
            hint(text)
    say(asyncio.run(dropped(settings, namespace, "api-admin cache clear")))


@app.command()
def explain(
    url: Url, user: AsUser = None, header: WithHeaders = None, as_json: AsJson = False
) -> None:
    """Say under which key a GET of URL is cached, and why it would be a hit or not.

    It is asked as after a login of the user; an API key with other scopes has entries
    of its own. So has every set of headers, Host and Accept among them, where a route
    takes the raw request. The handler is not run.
    """
    from app.commands.cache.explain import explained
    from app.commands.running import ready_database

    settings, remark = cache_settings(), ""
    headers = fields_of(header)
    try:
        look(store_of(settings), lambda shared: shared.ping())
    except OnlyTheProcessKnows as only:
        remark = str(only)
    with ready_database(settings):
        shown = asyncio.run(explained(settings, url, headers, user, looks=not remark))
    if remark and "verdict" not in shown:
        hint(remark)
    if as_json:
        print_json(shown)
        return
    namespaces = shown.pop("namespaces", {})
    for name in ("place", "inherited"):  # for programs
        shown.pop(name, None)
    print_record(shown.items())
    if namespaces:
        print_table(
            ["Namespace", "Version", "State", "Dropped by a change of"],
            (
                (
                    name or "(everything)",
                    each["version"],
                    each["state"],
                    ", ".join(each["rules"]),
                )
                for name, each in namespaces.items()
            ),
        )


def _heading(name: str) -> str:
    return name.replace("_", " ").capitalize()


# The store that commands share with the running service


class OnlyTheProcessKnows(Refused):
    """The cache is in the memory of the running process."""

    def __init__(self) -> None:
        super().__init__(
            "The cache is in the memory of the running process, so only that can "
            "tell. Ask it: the header Cache-Status of each answer says hit or miss "
            "and why, and LOG_CATEGORIES=CACHE logs it."
        )


def cache_settings() -> Settings:
    """Return the settings; raises Refused when caching is off."""
    from app.config import get_settings

    settings = get_settings()
    if not settings.cache_enabled:
        raise Refused("Caching is off: set CACHE_ENABLED=true")
    return settings


def store_of(settings: Settings) -> Shared | None:
    """Return the store; None for memory. Raises Refused for settings of no server."""
    from app.cache.backend import shared_store
    from app.cache.engine.entry import ConfigurationError

    try:
        return shared_store(settings)
    except ConfigurationError as error:
        raise Refused(str(error)) from None


def look(shared: Shared | None, into: Callable[[Shared], Awaitable[T]]) -> T:
    """Return what is found in the store. Raises Refused when it does not answer."""
    from app.cache.engine.store import StoreError

    if shared is None:
        raise OnlyTheProcessKnows

    async def run() -> T:
        try:
            return await into(shared)
        except StoreError as error:
            raise Refused(
                f"The cache does not answer: {error}; undelivered on this machine: "
                f"{shared.undelivered()}"
            ) from error
        finally:
            await shared.close()

    return asyncio.run(run())


class Count(NamedTuple):
    """How many entries and versions there are, and the bytes that they take."""

    entries: int = 0
    versions: int = 0
    bytes: int = 0


async def count(shared: Shared, prefix: str) -> dict[str, Count]:
    """Count what is stored, by the first segment of its key."""
    found: dict[str, Count] = {}
    async for place, size in shared.survey(f"{prefix}:"):
        kind, _, key = place.removeprefix(f"{prefix}:").partition(":")
        if kind not in ("entry", "value", "token"):
            continue
        is_version = kind == "token"
        if kind == "entry":
            key = key.rpartition("#")[0]  # without the variant
        name = key.partition(":")[0]
        entries, versions, used = found.get(name, Count())
        found[name] = Count(
            entries + (not is_version), versions + is_version, used + size
        )
    return dict(sorted(found.items()))
