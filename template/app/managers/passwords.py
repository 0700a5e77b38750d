"""Password hashes (argon2id), made and checked away from the event loop."""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Semaphore
from typing import TypeVar

from pwdlib import PasswordHash

from app.errors import Unavailable
from app.managers.password_rules import normalized

T = TypeVar("T")

password_hash = PasswordHash.recommended()

# Each hash takes 64 MiB and a core for a while: more threads would only take turns.
THREADS = 4
# A flood of logins is turned away, before it holds every later one back for minutes.
MAX_WAITING = 64

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="password")
_places = Semaphore(THREADS + MAX_WAITING)


async def hash_password(password: str) -> str:
    """The hash to store for this password; raises `Unavailable` if too many wait."""
    return await _in_thread(lambda: password_hash.hash(normalized(password)))


async def verify_password(password: str, stored: str | None) -> tuple[bool, str | None]:
    """Whether the password is right, and a new hash if the stored one is out of date.

    Out of date is also the hash of a password that was not normalized yet.

    Without a stored hash (there is no such user) it does the same work and says no, so
    that the time an answer takes does not tell whether the user exists. Raises
    `Unavailable` if too many wait.
    """
    return await _in_thread(lambda: _verify(password, stored))


def _verify(password: str, stored: str | None) -> tuple[bool, str | None]:
    # Asked for on both paths: the first call in a process has to make it.
    dummy = _dummy_hash()
    normal = normalized(password)
    valid, renewed = password_hash.verify_and_update(normal, stored or dummy)
    if not valid and normal != password:
        valid = password_hash.verify(password, stored or dummy)
        renewed = password_hash.hash(normal) if valid else None
    return (valid, renewed) if stored is not None else (False, None)


@cache
def _dummy_hash() -> str:
    return password_hash.hash(secrets.token_urlsafe())


async def _in_thread(function: Callable[[], T]) -> T:
    if not _places.acquire(blocking=False):
        raise Unavailable("Too many passwords wait to be checked; try again soon.")
    hashing = _threads.submit(function)
    # Not when the request ends: whoever gives up leaves the hash to a thread.
    hashing.add_done_callback(lambda _: _places.release())
    return await asyncio.wrap_future(hashing)
