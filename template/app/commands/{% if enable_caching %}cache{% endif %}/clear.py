"""Dropping namespaces of the cache, and what a name that is none may be meant for."""

from collections.abc import Iterator
from difflib import get_close_matches

from app.cache.engine.entry import may_overlap, owner_of
from app.cache.engine.rules import all_tables, rules
from app.cache.setup import opened_caches
from app.commands.cache.caller import cached_routes, quiet_app
from app.commands.cache.shared import store_of
from app.config import Settings


async def dropped(settings: Settings, namespace: str) -> str:
    """Drop a namespace, and return in a sentence what that did."""
    name, in_memory = owner_of(namespace), store_of(settings) is None
    async with opened_caches(settings) as caches:
        for cache in caches:
            await cache.invalidate([namespace], "api-admin cache clear")
        undone = any(cache.store.fallback for cache in caches)
    if undone:
        what = name or "everything"
        return f"Not dropped yet: {what}; see: api-admin cache status"
    if in_memory:
        return "Dropped everything that services on this machine have in memory."
    return f"Dropped {name} and all below it." if name else "Dropped everything."


def warning(settings: Settings, namespace: str) -> str:
    """Return what is to be said of a name that no route has; mostly nothing."""
    known = set(_known(settings))
    if any(may_overlap(each, namespace) for each in known):
        return ""
    nearest = get_close_matches(namespace, known, 1, cutoff=0.4)
    meant = f"did you mean {nearest[0]}?" if nearest else "see: api-admin routes"
    return f"No cached route has the namespace {namespace}; {meant}"


def _known(settings: Settings) -> Iterator[str]:
    """Yield with what the keys of cached routes begin, and what changes invalidate."""
    for _, _, policy in cached_routes(quiet_app(settings)):
        yield policy.namespace or policy.name
    for rule in (rule for of_model in rules.values() for rule in of_model):
        yield rule.template
    yield from all_tables()
