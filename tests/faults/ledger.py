"""What was written and acknowledged, and which answers are older than that."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Row:
    """One row of the service; its value is the number of the last write to it."""

    id: int
    started: int = 0
    acknowledged: int = 0
    by_worker: Counter[str] = field(default_factory=Counter)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def seen_so_far(self) -> "Expected":
        """What a request that is sent now may not fall behind."""
        return Expected(self, self.acknowledged, Counter(self.by_worker))


@dataclass(frozen=True)
class Expected:
    row: Row
    acknowledged: int
    by_worker: Counter[str]

    def staleness(self, seen: int, worker: str) -> str | None:
        """None if the answer is fresh; else whether this worker should have known."""
        assert seen <= self.row.started, f"row {self.row.id}: {seen} was never written"
        if seen >= self.acknowledged:
            return None
        return "own" if seen < self.by_worker[worker] else "others"


def value(number: int) -> str:
    return f"v{number}"


def number(text: str) -> int:
    """The number of the write that a value is from; 0 for what was there before."""
    return int(text[1:]) if text[1:].isdecimal() else 0
