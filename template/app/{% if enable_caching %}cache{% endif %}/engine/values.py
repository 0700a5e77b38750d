"""Caching what a function returns: one that is no route, or whose route has a coder or
another decorator between it and `@cached`.

A value is stored only if it reads back equal, in value and in type.
"""

import asyncio
import dis
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from types import CellType, FunctionType
from typing import Any

from anyio import CancelScope, from_thread
from fastapi import Request
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.cache.engine.cache import Cache, Found, Reading, Wanted, reading_now
from app.cache.engine.commits import begun
from app.cache.engine.entry import Directives, Entry, directives_of
from app.cache.engine.exchange import (
    Exchange,
    Serving,
    cache_of_task,
    current,
    put_by_run,
)
from app.cache.engine.forms import Unformed, encoded, form_of
from app.cache.engine.policy import (
    CachePolicy,
    KeyFailed,
    Unstable,
    code_of,
    digest,
    outline,
    stable,
)
from app.cache.engine.ticket import Ticket, admit

AnySession = AsyncSession | Session


class Attempt:
    """One call of a cached function: answered by `value`, or to be run."""

    answered = False
    value: Any = None
    ticket: Ticket | None = None

    def __init__(self, policy: CachePolicy, serving: Serving | None = None) -> None:
        self._policy = policy
        self._serving = serving
        self._before = _besides(serving)
        self._outer = reading_now.get()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Take note of what the function reads."""
        own = self.ticket.wanted.reading if self.ticket is not None else self._outer
        token = reading_now.set(own)
        try:
            yield
        finally:
            reading_now.reset(token)

    async def finish(self, result: Any) -> None:
        """Take the function's result."""
        ticket, policy = self.ticket, self._policy
        if ticket is None:
            return
        self._depend(ticket.versions() if ticket.storable else None)
        try:
            if _besides(self._serving) != self._before:
                policy.say("it sets more than a value: a header, a status, a task")
            elif (body := encoded(policy, result)) is not None:
                entry = ticket.entry(body)
                stored = entry and await ticket.store(ticket.lookup.place, entry)
                if stored and self._serving is not None:
                    self._serving.exchange.status += ("stored",)
        finally:
            await ticket.land(None)

    async def fail(self, *, cancelled: bool) -> None:
        """Take note that the function raised, or was cancelled."""
        if self.ticket is not None:
            self._depend(None)
            await self.ticket.land(None, abandoned=cancelled)

    def _depend(self, versions: dict[str, str] | None) -> None:
        if self._outer is not None:
            self._outer.use(versions)


async def call(
    policy: CachePolicy, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call a cached coroutine function, or answer for it."""
    attempt = await _begin(policy, args, kwargs)
    if attempt.answered:
        return attempt.value
    try:
        with attempt.running():
            result = await policy.function(*args, **kwargs)
    except BaseException as error:
        await attempt.fail(cancelled=isinstance(error, asyncio.CancelledError))
        raise
    await attempt.finish(result)
    return result


def call_sync(
    policy: CachePolicy, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call a cached function, or answer for it, in one of anyio's worker threads.

    Anywhere else it is just run: the event loop must not be kept waiting.
    """
    try:
        from_thread.check_cancelled()
    except (RuntimeError, asyncio.CancelledError):
        # This is no worker thread, or one that nobody waits for any more.
        return policy.function(*args, **kwargs)
    begin = _begin(policy, args, kwargs, in_thread=True)
    attempt: Attempt = from_thread.run(_to_its_end, begin)
    if attempt.answered:
        return attempt.value
    try:
        with attempt.running():
            result = policy.function(*args, **kwargs)
    except BaseException:
        from_thread.run(_to_its_end, attempt.fail(cancelled=False))
        raise
    from_thread.run(_to_its_end, attempt.finish(result))
    return result


async def _to_its_end(step: Awaitable[Any]) -> Any:
    """Await a step that goes on, as its thread does, when the request is cancelled."""
    with CancelScope(shield=True):
        return await step


async def _begin(
    policy: CachePolicy,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    in_thread: bool = False,
) -> Attempt:
    """Look the value of a call up, or begin the run that is to make it."""
    exchange, cache, outer = current.get(), cache_of_task(), reading_now.get()
    attempt = Attempt(policy)
    if cache is None or cache.loop is not asyncio.get_running_loop():
        return attempt
    serving = exchange.take_serving(policy) if exchange is not None else None
    if exchange is not None and serving is None and _is_endpoint(policy, exchange):
        if exchange.outcome is None and exchange.scope["method"] == "GET":
            policy.say("its route was added after the start")
        return attempt
    bound = _signature(policy.function).bind(*args, **kwargs)
    bound.apply_defaults()  # so that `f(5)` and `f(id=5)` are one call
    given = dict(bound.arguments)
    try:
        form = form_of(policy.function, policy.coder)
        key, variant = await _told_apart(policy, cache, serving, given)
    except (KeyFailed, Unformed, Unstable) as error:
        if serving is None:
            policy.say(str(error))
            return attempt
        serving.exchange.bypass_unkeyed(policy, error)
        return attempt

    directives = directives_of(serving.exchange.headers) if serving else Directives()

    sessions = [*_sessions_in(given)]
    transactions = begun(*sessions)
    unwritten = any(s.new or s.dirty or s.deleted for s in sessions)
    own = set[str]().union(*(work.changes() for work in transactions))

    def accepts(entry: Entry) -> bool:
        if entry.status != 0 or not directives.accepts(entry):
            return False
        if unwritten or not own.isdisjoint(entry.versions):
            return False  # it lacks what its own transaction has changed
        try:
            attempt.value = form.decode(entry.body)
        except Exception:  # whatever a coder raises, the entry is of no use
            return False
        return True

    reading = Reading(outer)
    wanted = Wanted(
        key,
        lambda: cache.place(key, variant),
        policy.expire or cache.settings.cache_default_ttl,
        reading,
        policy.tables,
        accepts,
        fresh=directives.no_cache,
        storable=not (
            reading.root.open
            or transactions
            or unwritten
            or any(map(_has_read, sessions))
        ),
        in_thread=in_thread,
    )
    known = await cache.find(wanted)
    found = known if isinstance(known, Found) else await admit(cache, wanted, known)
    if serving is not None:
        serving.exchange.found(found, fresh=directives.no_cache)
    if isinstance(found, Ticket) and directives.only_if_cached and serving is not None:
        attempt.value = await serving.exchange.refuse_to_run(found)
        attempt.answered = True
        return attempt
    if isinstance(found, Ticket):
        attempt = Attempt(policy, serving)
        attempt.ticket = found
        return attempt
    if outer is not None:
        outer.use(found.entry.versions)
    attempt.answered = True
    return attempt


async def _told_apart(
    policy: CachePolicy, cache: Cache, serving: Serving | None, given: dict[str, Any]
) -> tuple[str, str]:
    """Return the key of a call, and what tells it from others with the same key.

    Raises Unstable for an argument that no key can hold, unless an own key builder
    has said what matters.
    """
    if serving is not None:
        key = await policy.key(serving.request, (), given)
        return key, serving.variant(given)
    returns = repr(_signature(policy.function).return_annotation)
    enclosed = _enclosed(policy.function, objects=policy.keys_all)
    told: list[Any] = [policy.name, policy.code, returns, enclosed]
    if policy.keys_all:
        told += [[name, _argument(name, value)] for name, value in given.items()]
        told += _at_first(policy.function)
    request = next((v for v in given.values() if isinstance(v, Request)), None)
    return await policy.key(request, (), given), digest(told, cache.secret)


def _argument(name: str, value: Any) -> Any:
    try:
        if not isinstance(value, AnySession):
            return stable(value)
        bind = _bind_of(value)
        options = bind.get_execution_options().get("schema_translate_map")
        info = [stable(options), stable(dict(value.info))]
        return ["session", str(bind.engine.url), info]
    except Unstable as error:
        raise Unstable(
            f"its argument {name!r} ({error}) cannot be part of a key; pass what it "
            "needs of that, or give @cached a key_builder"
        ) from None


def _bind_of(session: AnySession) -> Engine | Connection:
    try:
        return session.get_bind()
    except UnboundExecutionError:
        raise Unstable("which has several engines, or none") from None


def _enclosed(function: Callable[..., Any], *, objects: bool) -> list[Any]:
    """Return what tells functions apart that another one has made from one `def`.

    Of `objects`, that is what they show; an own key builder says what of it matters.
    """
    found: list[Any] = []
    for cell in _constant_cells(function):
        with suppress(ValueError):  # it is empty yet
            value = cell.cell_contents
            if isinstance(value, type):
                found.append([value.__module__, value.__qualname__])
            elif isinstance(value, FunctionType):
                found.append([code_of(value), _enclosed(value, objects=objects)])
            elif isinstance(value, list | dict | set):
                continue  # it may be a cache or a counter of its own
            else:
                try:
                    found.append(stable(value))
                except Unstable:
                    found.append(outline(value, public=True) if objects else None)
    return found


@lru_cache(maxsize=1024)
def _at_first(function: Callable[..., Any]) -> list[Any]:
    """Return what it encloses, as that was at the first call: a counter goes on."""
    found: list[Any] = []
    for cell in _constant_cells(function):
        with suppress(ValueError):  # it is empty yet
            found.append(_parts_of(cell.cell_contents))
    return found


def _parts_of(enclosed: Any) -> Any:
    try:
        with suppress(Unstable):
            return stable(enclosed)  # of a set, in order
        return outline(enclosed)
    except Unstable as error:
        raise Unstable(
            f"what it encloses ({error}) cannot be part of a key; pass what it needs "
            "of that as an argument, or give @cached a key_builder"
        ) from None


@lru_cache(maxsize=1024)
def _constant_cells(function: Callable[..., Any]) -> list[CellType]:
    cells = getattr(function, "__closure__", None)
    if cells is None:
        return []
    does = dis.get_instructions(function)
    counters = {each.argval for each in does if each.opname == "STORE_DEREF"}
    names = function.__code__.co_freevars
    return [c for name, c in zip(names, cells, strict=True) if name not in counters]


def _besides(serving: Serving | None) -> Any:
    """Return what a handler may set and add beside its value."""
    if serving is None:
        return None
    response = serving.exchange.response
    put = put_by_run(serving.request.scope, serving.exchange)
    return response.status_code, list(response.headers.raw), put


def _is_endpoint(policy: CachePolicy, exchange: Exchange) -> bool:
    """Tell whether a request came for this function: more counts than its arguments."""
    endpoint = exchange.scope.get("endpoint")
    return getattr(endpoint, "__cache_policy__", None) is policy


def _sessions_in(held: Mapping[str, Any], depth: int = 2) -> Iterator[AnySession]:
    """Yield the sessions among arguments, and those that these hold, as a manager."""
    for each in [*held.values()]:
        if isinstance(each, AnySession):
            yield each
        elif depth:
            yield from _sessions_in(getattr(each, "__dict__", {}), depth - 1)


def _has_read(session: AnySession) -> bool:
    """Tell whether it may answer with what it has read before."""
    return session.in_transaction() or bool(session.identity_map)


@lru_cache(maxsize=1024)
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)
