"""What the cache asks of a store."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

CLOSED = b"!"  # what the value of a closed version begins with, and no version does


class StoreError(Exception):
    """The store did not do what it was asked; the message says why."""


class Store(Protocol):
    """Bytes under text keys, each with its expiry in seconds.

    An operation that fails raises `StoreError`; nothing else comes out. `fallback`
    tells whether it has to do without the server that it was given; `longest` is the
    most seconds that a value lives there now.
    """

    @property
    def fallback(self) -> bool: ...
    @property
    def longest(self) -> float: ...

    async def open(self) -> None:
        """Begin to work."""
        ...

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of `keys`, in their order, in one round trip."""
        ...

    async def put(
        self,
        key: str,
        value: bytes,
        expire: int,
        versions: Mapping[str, bytes] = MappingProxyType({}),
        lease: str = "",
        owner: bytes = b"",
    ) -> None:
        """Store a value, and give a lease of this owner's back with it.

        The versions that are still these live as long as it, or longer.
        """
        ...

    async def add_many(self, values: dict[str, bytes], expire: int) -> list[bytes]:
        """Store each value unless there is one, and return those that are stored."""
        ...

    async def fence(self, keys: Collection[str], owner: bytes, seconds: float) -> None:
        """Close versions, in one round trip, until this owner renews them.

        Or for `seconds`, should it never do so. A store that ends with the process may
        leave them open.
        """
        ...

    async def renew(
        self, versions: dict[str, bytes], expire: int, owner: bytes = b""
    ) -> None:
        """Replace versions, in one round trip, and lift this owner's fence from them.

        One that others have closed stays closed: it is replaced by the last of them.
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
        """Give a lease back, if it is still this owner's."""
        ...

    def health(self) -> dict[str, str | float]:
        """Return what /readyz shows besides; nothing that is secret."""
        ...

    def numbers(self) -> dict[str, float]:
        """Return what there is in this process, and what has happened to it."""
        ...

    async def close(self) -> None:
        """Give up all connections."""
        ...


class Shared(Protocol):
    """What commands see of a store that they share with the running service.

    StoreError when it does not answer, but for `undelivered`.
    """

    async def ping(self) -> None:
        """Make sure that the store answers."""
        ...

    async def describe(self) -> dict[str, str]:
        """Return what the server says of itself, by name."""
        ...

    async def processes(self) -> dict[str, dict[str, Any]]:
        """Return what each process that uses it last said of itself, by name."""
        ...

    def undelivered(self) -> str:
        """Return what processes on this machine could not tell it."""
        ...

    def survey(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        """Yield every key that begins with `prefix`, and the bytes that it takes."""
        ...

    async def close(self) -> None:
        """Give up all connections."""
        ...
