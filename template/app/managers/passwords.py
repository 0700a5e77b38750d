"""Passwords: which nobody may take, and their hashes (argon2id).

Hashes are made and checked away from the event loop.
"""

import asyncio
import re
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import Semaphore
from typing import TypeVar

from pwdlib import PasswordHash

from app.config import Settings
from app.errors import Invalid, Unavailable

COMMON = Path(__file__).with_name("common_passwords.txt")
# What people put around a word to make a password of it.
AROUND = re.compile(r"^[\W\d_]+|[\W\d_]+$")


def normalized(password: str) -> str:
    """Return the form that is hashed, NFKC (NIST SP 800-63B-4 3.1.1.2).

    One keyboard sends é as one character, another one as e and an accent.
    """
    return unicodedata.normalize("NFKC", password)


def require_good_password(
    password: str, settings: Settings, *, email: str = ""
) -> None:
    """Raise `Invalid` for a password that is short or that attackers try first.

    It is compared as a whole with the common ones, and with the names of the service
    and of the user: to forbid a word within a long password would help nobody (NIST SP
    800-63B-4 3.1.1.2).
    """
    text = normalized(password)
    shortest = settings.password_min_length
    if len(text) < shortest:
        raise Invalid(
            f"A password has at least {shortest} characters.",
            code="password_too_short",
        )
    text = text.casefold()
    # A string that repeats a part of itself is found inside its own double.
    if text in _common_passwords() or text in (text + text)[1:-1]:
        raise Invalid(
            "This password is too common: it is among the first that attackers try.",
            code="password_too_common",
        )
    names = {settings.api_title, email, email.partition("@")[0]}
    if _bare(text) in {_bare(normalized(name).casefold()) for name in names} - {""}:
        raise Invalid(
            "This password is too easy to guess: it is the name of the service or of"
            " the user.",
            code="password_too_common",
        )


def _bare(text: str) -> str:
    """The text without spaces, and without the digits and signs around it."""
    return AROUND.sub("", text).replace(" ", "")


@cache
def _common_passwords() -> frozenset[str]:
    lines = COMMON.read_text("utf-8").splitlines()
    return frozenset(
        word.casefold()
        for line in lines
        if not line.startswith("# ")
        for word in line.split()
    )


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
