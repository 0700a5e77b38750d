"""Caching what a function returns, for functions that are no routes."""

import inspect
import logging
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, get_type_hints

from fastapi import Request, Response
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.cache.attempt import Attempt
from app.cache.digest import Unstable, stable
from app.cache.engine import running
from app.cache.entry import Entry
from app.cache.exchange import Exchange, current
from app.cache.keys import default_key_builder
from app.cache.policy import CachePolicy
from app.cache.ticket import Ticket, admit

log = logging.getLogger("app.cache")

_TOOLS = (AsyncSession, Session, Request, Response)


class ValueAttempt(Attempt):
    """A run whose value is stored, encoded, when it comes to its end."""

    def __init__(
        self, policy: CachePolicy, ticket: Ticket, exchange: Exchange | None
    ) -> None:
        self._policy = policy
        self._ticket = ticket
        self._exchange = exchange
        self._transactions = exchange.transactions if exchange else 0

    async def finish(self, result: Any) -> Any:
        if self._exchange is not None and self._ticket.storable:
            self._exchange.transactions = self._transactions  # its tokens are enough
        entry = None
        try:
            entry = self._ticket.entry(encode(self._policy, result))
            if entry is not None:
                await self._ticket.store(entry)
        except ValueError as error:  # the value is not of the type that it should be
            log.warning("%s: not cached: %s", self._policy.function.__qualname__, error)
        finally:
            await self._ticket.land(entry)
        return result

    async def fail(self, *, cancelled: bool) -> None:
        await self._ticket.land(None, abandoned=cancelled)


async def begin(
    policy: CachePolicy,
    request: Request | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Attempt:
    """Return the stored value, or the run that is to make it.

    Raises TypeError when there is neither a return type nor a coder to store it by.
    """
    engine, exchange = running(), current.get()
    if engine is None:
        return Attempt()
    if policy.coder is None:
        _adapter(policy.function)
    given = _named(policy.function, args, kwargs)
    if policy.key_builder is default_key_builder and not _tells_all(policy, given):
        if exchange is not None:
            exchange.until = 0  # nothing tells whether this would be the same again
        return Attempt()
    decoded = Decoded(policy)
    reading = exchange is not None and exchange.open_transactions > 0
    key = await policy.key(request, args, given)
    found = await admit(
        engine,
        policy,
        key,
        policy.fingerprint,
        lambda entry: entry.status == 0 and decoded(entry),
        fresh=False,
        storable=not (reading or any(_in_transaction(v) for v in given.values())),
    )
    tokens = found.lookup.tokens if isinstance(found, Ticket) else found.entry.tokens
    if exchange is not None:
        exchange.sources |= engine.tokens_of(key, tokens or ())
        if not tokens:
            ends = 0.0  # nothing tells when it changes
        elif isinstance(found, Ticket):
            ends = time.time() + policy.ttl(engine)
        else:
            ends = found.entry.expires_at
        exchange.until = min(exchange.until, ends)
    if isinstance(found, Ticket):
        return ValueAttempt(policy, found, exchange if tokens else None)
    return Attempt.of(decoded.value)


class Decoded:
    """Takes an entry if its value can be read, and keeps the value."""

    def __init__(self, policy: CachePolicy) -> None:
        self._policy = policy
        self.value: Any = None

    def __call__(self, entry: Entry) -> bool:
        try:
            self.value = _decode(self._policy, entry.body)
        except Exception:  # whatever a coder raises, the entry is of no use
            return False
        return True


def _tells_all(policy: CachePolicy, given: dict[str, Any]) -> bool:
    """Tell whether the default key can name every argument that is no injected tool."""
    for name, value in given.items():
        if name in ("self", "cls") or isinstance(value, _TOOLS):
            continue
        try:
            stable(value)
        except Unstable as error:
            log.warning(
                "%s is not cached: its argument %r (%s) cannot be part of a key; "
                "give @cached a key_builder",
                policy.function.__qualname__,
                name,
                error,
            )
            return False
    return True


def _named(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Return all arguments by name, so that `f(5)` and `f(id=5)` are one call."""
    bound = _signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


@lru_cache(maxsize=1024)
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


def _in_transaction(value: object) -> bool:
    return isinstance(value, AsyncSession | Session) and value.in_transaction()


@lru_cache(maxsize=1024)
def _adapter(function: Callable[..., Any]) -> TypeAdapter[Any]:
    hints = get_type_hints(function, include_extras=True)
    if "return" not in hints:
        raise TypeError(
            f"@cached on {function.__module__}.{function.__qualname__}: a function "
            "that is no route needs a return type, or a coder, to be stored by"
        )
    return TypeAdapter(hints["return"])


def encode(policy: CachePolicy, value: object) -> bytes:
    """Return what is stored of a value."""
    if policy.coder is not None:
        encoded: bytes = policy.coder.encode(value)
        return encoded
    return _adapter(policy.function).dump_json(value)


def _decode(policy: CachePolicy, body: bytes) -> Any:
    if policy.coder is not None:
        return policy.coder.decode(body)
    return _adapter(policy.function).validate_json(body)
