"""What the decorator, the session hooks and the middleware know of one request."""

import math
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope

from app.cache.http import Fields
from app.cache.ticket import Found, Ticket

if TYPE_CHECKING:
    from app.cache.policy import CachePolicy

SCOPE_KEY = "app.cache"
Outcome = Literal["HIT", "MISS", "BYPASS"]


class Exchange:
    """One request's dealings with the cache, from its lookup to its stored response."""

    def __init__(self, scope: Scope) -> None:
        self.headers = Fields(scope)
        self.started = time.perf_counter()
        self.outcome: Outcome | None = None
        self.status: tuple[str, ...] = ()
        self.ticket: Ticket | None = None
        self.found: Found | None = None  # a coder's value, which FastAPI sends anew
        self.open_transactions = 0
        self.transactions = 0  # begun so far, but for those of cached functions
        self.sources: dict[str, str] = {}  # tokens of the cached values that it used
        self.until = math.inf  # when these end, in Unix time
        self.signature: bytes | None = None  # what tells the request from others
        self.hit: tuple[CachePolicy, str] | None = None  # how it was answered, its key

    def settle(self, outcome: Outcome, *status: str) -> None:
        """Say how the request was answered, in the words of Cache-Status."""
        self.outcome = outcome
        self.status = status


current: ContextVar[Exchange | None] = ContextVar("cache_exchange", default=None)


def exchange_of(scope: Scope) -> Exchange | None:
    """Return the request's exchange, None where the middleware is not mounted."""
    found = scope.get(SCOPE_KEY)
    return found if isinstance(found, Exchange) else None


def headers_of(request: Request) -> Headers:
    """Return a request's headers, by the names that they have in lower case."""
    exchange = exchange_of(request.scope)
    return request.headers if exchange is None else exchange.headers
