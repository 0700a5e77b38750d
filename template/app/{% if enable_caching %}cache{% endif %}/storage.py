"""What the engine asks of a backend, and how any fastapi-cache2 backend gives it."""

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, cast

from fastapi_cache.types import Backend

FENCE = b"!"  # what the value of a closed token begins with, and no token does
_FENCES = re.compile(rb"(\w+):(\d+(?:\.\d+)?)")


def fences_in(value: bytes) -> dict[bytes, float]:
    """Return who has closed what has this value, and until when."""
    found = _FENCES.findall(value) if value.startswith(FENCE) else []
    fences = {owner: float(deadline) for owner, deadline in found}
    return {owner: end for owner, end in fences.items() if end > time.time()}


def closed_by(fences: dict[bytes, float]) -> bytes:
    """Return the value of what is closed."""
    return FENCE + b" ".join(b"%s:%f" % fence for fence in fences.items())


class Storage(Protocol):
    """Bytes under text keys, each with its expiry in seconds.

    An operation that fails raises `StorageError`; nothing else comes out. `fallback`
    tells whether it has to do without the server that it was given.
    """

    @property
    def fallback(self) -> bool: ...

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of `keys`, in their order, in one round trip."""
        ...

    async def put(
        self,
        key: str,
        value: bytes,
        expire: int,
        *,
        lease: str | None = None,
        owner: bytes = b"",
    ) -> None:
        """Store a value, and give a lease of this owner's back with it."""
        ...

    async def add_many(self, values: dict[str, bytes], expire: int) -> list[bytes]:
        """Store each value unless there is one, and return those that are stored."""
        ...

    async def fence(self, keys: Collection[str], owner: bytes, seconds: float) -> None:
        """Close tokens, in one round trip, until this owner renews them.

        Or for `seconds`, should it never do so. Storage that ends with the process
        may leave them open.
        """
        ...

    async def renew(
        self, tokens: dict[str, bytes], expire: int, owner: bytes = b""
    ) -> None:
        """Replace tokens, in one round trip, and lift this owner's fence from them.

        A token that others have closed stays closed: it is replaced by the last one.
        """
        ...

    async def acquire(
        self, lease: str, owner: bytes, seconds: int, key: str
    ) -> tuple[bool, bytes | None]:
        """Take a lease among all processes, and read `key`, in one round trip.

        False while another owner has the lease.
        """
        ...

    async def release(self, lease: str, owner: bytes) -> None:
        """Give a lease back, if it is still this owner's; do not wait for that."""
        ...

    async def open(self) -> None:
        """Begin to work; StorageError when the backend cannot be reached."""
        ...

    def elsewhere(self) -> "Storage":
        """Return the same storage for use on another event loop."""
        ...

    async def ping(self) -> None:
        """Make sure that the backend answers."""
        ...

    def health(self) -> dict[str, str | float]:
        """Return what /readyz shows besides; nothing that is secret."""
        ...

    async def close(self) -> None:
        """Give up all connections."""
        ...


class Shared(Storage, Protocol):
    """Storage that a command shares with the running service, so that it can look."""

    async def describe(self) -> dict[str, str]:
        """Return what the server says of itself, by name."""
        ...

    async def processes(self) -> dict[str, dict[str, str | float]]:
        """Return what each process that uses it last said of itself, by name."""
        ...

    def undelivered(self) -> str:
        """Return what processes on this machine could not tell it."""
        ...

    def survey(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        """Yield every key that begins with `prefix`, and the bytes that it takes."""
        ...


class StorageError(Exception):
    """The backend did not do what it was asked; the message says why."""


class PlainStorage:
    """Storage over any fastapi-cache2 `Backend`, of which it uses get and set only."""

    fallback = False

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._adding = asyncio.Lock()

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        with _errors():
            return [await self._backend.get(key) for key in keys]

    async def put(
        self,
        key: str,
        value: bytes,
        expire: int,
        *,
        lease: str | None = None,
        owner: bytes = b"",
    ) -> None:
        with _errors():
            await self._backend.set(key, value, expire)

    async def add_many(self, values: dict[str, bytes], expire: int) -> list[bytes]:
        # Overwriting what another process added costs a miss, never a stale read.
        async with self._adding:
            stored = dict(zip(values, await self.get_many(list(values)), strict=True))
            for key, old in stored.items():
                if not old:
                    await self.put(key, values[key], expire)
        return [old or values[key] for key, old in stored.items()]

    async def fence(self, keys: Collection[str], owner: bytes, seconds: float) -> None:
        # Other processes' fences may get lost: there is no way to add to a value.
        async with self._adding:
            for key in keys:
                fences = await self._fences(key)
                await self._close(key, fences | {owner: time.time() + seconds})

    async def renew(
        self, tokens: dict[str, bytes], expire: int, owner: bytes = b""
    ) -> None:
        async with self._adding:
            for key, token in tokens.items():
                fences = await self._fences(key)
                fences.pop(owner, None)
                if fences:
                    await self._close(key, fences)
                else:
                    await self.put(key, token, expire)

    async def _fences(self, key: str) -> dict[bytes, float]:
        return fences_in((await self.get_many([key]))[0] or b"")

    async def _close(self, key: str, fences: dict[bytes, float]) -> None:
        remaining = math.ceil(max(fences.values()) - time.time())
        await self.put(key, closed_by(fences), remaining)

    async def acquire(
        self, lease: str, owner: bytes, seconds: int, key: str
    ) -> tuple[bool, bytes | None]:
        # A lookup took several steps, so another run may have ended since it began.
        with _errors():
            return True, await self._backend.get(key)

    async def release(self, lease: str, owner: bytes) -> None:
        return None

    def elsewhere(self) -> Storage:
        return PlainStorage(self._backend)  # with a lock of its own event loop

    async def open(self) -> None:
        return None

    async def ping(self) -> None:
        return None

    def health(self) -> dict[str, str | float]:
        return {}

    async def close(self) -> None:
        return None


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # what a foreign backend raises cannot be known
        raise StorageError(f"{type(error).__name__}: {error}") from error


def storage_over(backend: Backend) -> Storage:
    """Return the backend itself where it is a `Storage`, else one that wraps it."""
    if hasattr(backend, "get_many"):
        return cast("Storage", backend)
    return PlainStorage(backend)
