"""Numbers as people read them; the page has the exact ones beside them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any


def number(value: float) -> str:
    """As in 1,234."""
    return f"{value:,.0f}"


def count(value: float) -> str:
    """The same; a dash for none, so that a table shows where there is something."""
    return number(value) if value else "–"


def seconds(value: float | None) -> str:
    """As in 0.8 ms, 12.3 s or 3.2 h; a dash where there is none."""
    if value is None:
        return "–"
    size = abs(value)
    for least, factor, unit in ((7200, 1 / 3600, "h"), (120, 1 / 60, "min")):
        if size >= least:
            return f"{value * factor:,.1f} {unit}"
    return f"{value:.1f} s" if size >= 1 else f"{value * 1000:.1f} ms"


def share(value: float | None) -> str:
    """As in 97.3 %."""
    return "–" if value is None else f"{value * 100:.1f} %"


def size(value: float) -> str:
    """As in 1.5 MB."""
    for least, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= least:
            return f"{value / least:.1f} {unit}"
    return f"{value:.0f} B"


def clock(value: float) -> str:
    """As in 14:23:45, in UTC."""
    return f"{datetime.fromtimestamp(value, UTC):%H:%M:%S}"


def iso(value: float) -> str:
    """As in 2026-01-02T14:23:45+00:00."""
    return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")


FILTERS: dict[str, Callable[[Any], str]] = {
    "clock": clock,
    "count": count,
    "iso": iso,
    "number": number,
    "seconds": seconds,
    "share": share,
    "size": size,
}
