"""What is stored for a request, and what speaks against it: for commands and pages."""

import time
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from app.cache.engine.cache import Cache, Lookup, Wanted
from app.cache.engine.entry import (
    Entry,
    age_of,
    may_overlap,
    namespaces_of,
    version_place,
)
from app.cache.engine.policy import policies
from app.cache.engine.rules import all_tables, rules
from app.cache.engine.store import CLOSED


async def looked_up(
    cache: Cache,
    key: str,
    place: str,
    inherited: Iterable[str],
    *,
    hit: bool | None = None,
) -> dict[str, Any]:
    """Return what is stored in a place, and what speaks against it.

    `inherited` are namespaces that the entry would have from what was used before it.
    Without `hit`, an entry that is valid counts as one.
    """
    wanted = Wanted(key, lambda: place, cache.settings.cache_default_ttl)
    reading, lookup = wanted.reading, await cache.lookup(wanted)
    (data,) = await reading.fetch(cache, [place])
    entry = cache.read(data, place)
    hit = lookup.entry is not None if hit is None else hit
    then = {} if entry is None else entry.versions
    names = list(dict.fromkeys([*namespaces_of(key), *then, *inherited]))
    places = [version_place(cache.prefix, name) for name in names]
    now = await reading.fetch(cache, places)
    states = {
        name: _state(then.get(name), version)
        for name, version in zip(names, now, strict=True)
    }
    shown: dict[str, Any] = {
        "verdict": "hit" if hit else f"miss: {_why_not(lookup, data, entry, states)}",
        "age": None,
        "expires in": None,
        "namespaces": {
            name: {
                "version": (version or b"").decode(),
                "state": states[name],
                "rules": [*_rules_for(name)],
            }
            for name, version in zip(names, now, strict=True)
        },
    }
    if entry is not None:
        left = max(0, int(entry.expires_at - time.time()))
        shown |= {"age": f"{age_of(entry)} s", "expires in": f"{left} s"}
    return shown


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


def _why_not(
    lookup: Lookup, data: bytes | None, entry: Entry | None, states: dict[str, str]
) -> str:
    if "closed" in states.values():
        return "what it is about is being changed"
    if data is None:
        return "nothing is stored"
    if entry is None:
        return "what is stored has expired, or cannot be read"
    if lookup.entry is None:
        changed = [name for name, state in states.items() if state == "renewed"]
        return f"{changed[0] or 'everything'} was invalidated after it was stored"
    return "what is stored does not answer this request"


def _rules_for(namespace: str) -> Iterator[str]:
    """Yield what invalidates a namespace: a table, or rules that `touches` was told."""
    if namespace in all_tables():
        yield f"any row of {namespace.partition('=')[2]}"
    given = namespace.split(":")
    for model, of_model in rules.items():
        for rule in of_model:
            parts = rule.template.split(":")
            same = (p == g or "{" in p for p, g in zip(parts, given, strict=False))
            if len(parts) == len(given) and all(same):
                yield f"{model.__name__}: {rule.template}"


def _state(then: str | None, now: bytes | None) -> str:
    if now is not None and now.startswith(CLOSED):
        return "closed"
    if then is None:
        return "set" if now else "not set"
    return "unchanged" if now == then.encode() else "renewed"
