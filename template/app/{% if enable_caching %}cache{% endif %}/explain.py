"""Why an answer would, or would not, come from the cache."""

import time
from dataclasses import dataclass

from app.cache.engine import Engine
from app.cache.entry import decode
from app.cache.namespaces import namespaces_of
from app.cache.storage import FENCE


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is stored under a key; `age` and `ttl` are in seconds, None without entry.

    `namespaces` has each one with the state of its version.
    """

    key: str
    verdict: str
    namespaces: list[tuple[str, str]]
    age: int | None = None
    ttl: int | None = None


async def explain(engine: Engine, key: str, fingerprint: str) -> Explanation:
    """Look at an entry as a lookup does, and say what speaks against it.

    Raises StorageError when the backend does not answer.
    """
    names = namespaces_of(key)
    wanted = [
        engine.entry_key(key, fingerprint),
        *(engine.token_key(name) for name in names),
    ]
    data, *current = await engine.storage.get_many(wanted)
    entry = decode(data)
    if entry is None:
        verdict = "miss: nothing is stored" if data is None else "miss: not readable"
        states = [
            (name, _state(None, now)) for name, now in zip(names, current, strict=True)
        ]
        return Explanation(key, verdict, states)
    states = [
        (name, _state(then, now))
        for name, then, now in zip(names, entry.tokens, current, strict=True)
    ]
    changed = [name or "everything" for name, state in states if state != "unchanged"]
    now = time.time()
    if "closed" in dict(states).values():
        verdict = "miss: what it is about is being changed"
    elif changed:
        verdict = f"miss: {changed[0]} was invalidated after it was stored"
    elif entry.fingerprint != fingerprint:
        verdict = "miss: it is not from this route"
    elif entry.expires_at <= now:
        verdict = "miss: it has expired"
    else:
        verdict = "hit"
    return Explanation(
        key,
        verdict,
        states,
        age=int(now - entry.stored_at),
        ttl=max(0, int(entry.expires_at - now)),
    )


def _state(then: str | None, now: bytes | None) -> str:
    if now is not None and now.startswith(FENCE):
        return "closed"
    if then is None:
        return "set" if now else "not set"
    if now is None:
        return "gone"
    return "unchanged" if now == then.encode() else "renewed"
