"""Dropping namespaces of the cache, and what a name that is none may be meant for."""

from collections.abc import Iterator
from difflib import get_close_matches

from app.cache.engine.entry import may_overlap, owner_of
from app.cache.engine.memory import OtherMemory
from app.cache.engine.policy import policies
from app.cache.engine.rules import all_tables, rules
from app.cache.setup import opened_caches
from app.config import Settings


async def dropped(settings: Settings, namespace: str, cause: str) -> str:
    """Drop a namespace, and return in a sentence what that did."""
    name = owner_of(namespace)
    async with opened_caches(settings) as caches:
        for cache in caches:
            await cache.invalidate([namespace], cause)
        undone = any(cache.store.fallback for cache in caches)
        whole = any(isinstance(cache.store, OtherMemory) for cache in caches)
    if undone:
        what = name or "everything"
        return f"Not dropped yet: {what}; see: api-admin cache status"
    if whole:
        return "Dropped everything that services on this machine have in memory."
    return f"Dropped {name} and all below it." if name else "Dropped everything."


def warning(namespace: str) -> str:
    """Return what is to be said of a name that nothing cached has; mostly nothing."""
    known = set(known_names())
    if any(may_overlap(each, namespace) for each in known):
        return ""
    nearest = get_close_matches(namespace, known, 1, cutoff=0.4)
    meant = f"did you mean {nearest[0]}?" if nearest else "see: api-admin routes"
    return f"No cached route has the namespace {namespace}; {meant}"


def known_names() -> Iterator[str]:
    """Yield with what keys begin, and what changes invalidate."""
    for policy in policies:
        yield policy.namespace or policy.name
    for rule in (rule for of_model in rules.values() for rule in of_model):
        yield rule.template
    yield from all_tables()
