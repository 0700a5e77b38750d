"""What a command sees of a store that it shares with the running service."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple, Protocol


class Shared(Protocol):
    """The store; StoreError when it does not answer, but for `undelivered`."""

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


class Count(NamedTuple):
    """How many entries and versions there are, and the bytes that they take."""

    entries: int = 0
    versions: int = 0
    bytes: int = 0


async def count(shared: Shared, prefix: str) -> dict[str, Count]:
    """Count what is stored, by the first segment of its key."""
    found: dict[str, Count] = {}
    async for place, size in shared.survey(f"{prefix}:"):
        kind, _, key = place.removeprefix(f"{prefix}:").partition(":")
        if kind not in ("entry", "value", "token"):
            continue
        is_version = kind == "token"
        if kind == "entry":
            key = key.rpartition("#")[0]  # without the variant
        name = key.partition(":")[0]
        entries, versions, used = found.get(name, Count())
        found[name] = Count(
            entries + (not is_version), versions + is_version, used + size
        )
    return dict(sorted(found.items()))
