"""Which requests waited for Redis until the deadline of an operation.

The worker knows it: an operation that met its deadline says so when it fails. One that
was given up because another one had met its deadline waited, too.
"""

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any

from app.cache.engine.redis.server import RedisServer
from app.cache.engine.store import StoreError

DEADLINE = "no answer within"
GIVEN_UP = "failed for another request"


class Waits:
    """How often one request waited."""

    def __init__(self) -> None:
        self.number = 0


current: ContextVar[Waits | None] = ContextVar("waits", default=None)


def watch() -> None:
    """Look at how each operation on Redis ends."""
    last = ""

    def watched(operation: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(operation)
        async def watched_operation(*args: Any, **kwargs: Any) -> Any:
            nonlocal last
            try:
                return await operation(*args, **kwargs)
            except StoreError as error:
                if GIVEN_UP not in str(error):
                    last = str(error)
                waits = current.get()
                if waits is not None and DEADLINE in last:
                    waits.number += 1
                raise

        return watched_operation

    for name, operation in list(vars(RedisServer).items()):
        if inspect.iscoroutinefunction(operation) and not name.startswith("_"):
            setattr(RedisServer, name, watched(operation))


def marked(app: Any) -> Any:
    """Give the answer to each request that waited the header `x-waited`."""

    async def with_mark(scope: Any, receive: Any, send: Any) -> None:
        waits = Waits()
        token = current.set(waits)

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start" and waits.number:
                mark = (b"x-waited", b"%d" % waits.number)
                message["headers"] = [*message["headers"], mark]
            await send(message)

        try:
            await app(scope, receive, answer)
        finally:
            current.reset(token)

    return with_mark
