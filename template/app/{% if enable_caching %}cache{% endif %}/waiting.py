"""Waiting in the name of a worker thread, without keeping others from having one.

A `def` handler that waits for another request's run stands still in one of anyio's
worker threads. If followers had them all, the run itself could not go on: FastAPI
validates its result in a thread. So who waits lends his place to somebody else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from anyio.to_thread import current_default_thread_limiter

# Threads that wait at one time, beside those that work. Each is a stack of the system.
MOST = 1_000

in_thread: ContextVar[bool] = ContextVar("cache_waits_in_thread", default=False)
_lent = 0


def may_wait() -> bool:
    """Tell whether there is room for one more who waits; else he had better work."""
    return not in_thread.get() or _lent < MOST


@contextmanager
def lent_place() -> Iterator[None]:
    """Let another thread work while the one in whose name this runs waits."""
    global _lent
    if not in_thread.get():
        yield
        return
    limiter = current_default_thread_limiter()
    _lent += 1
    limiter.total_tokens += 1
    try:
        yield
    finally:
        limiter.total_tokens -= 1
        _lent -= 1
