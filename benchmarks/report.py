"""Numbers as text: medians with their spread, tables, and goals."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Sample:
    """The same measured once in each round."""

    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        return median(self.values)

    def to(self, other: "Sample") -> "Sample":
        """Return the ratio in each round: what disturbs one disturbs the other."""
        pairs = zip(self.values, other.values, strict=True)
        return Sample(tuple(own / its for own, its in pairs))

    def minus(self, other: "Sample") -> "Sample":
        pairs = zip(self.values, other.values, strict=True)
        return Sample(tuple(own - its for own, its in pairs))

    def ratio(self) -> str:
        low, high = min(self.values), max(self.values)
        return f"**{self.middle:.2f}** ({low:.2f}–{high:.2f})"

    def microseconds(self) -> str:
        low, high = (
            f"{edge * 1e6:.0f}" for edge in (min(self.values), max(self.values))
        )
        return f"**{self.middle * 1e6:.0f}** ({low}–{high})"

    def milliseconds(self) -> str:
        low, high = (
            f"{edge * 1e3:.2g}" for edge in (min(self.values), max(self.values))
        )
        return f"**{self.middle * 1e3:.2g}** ({low}–{high})"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of results, with what has to be known to read it."""

    title: str
    text: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        lines = [f"### {self.title}", "", self.text, ""]
        lines.append(_line(self.columns))
        lines.append(_line(["---"] + ["---:"] * (len(self.columns) - 1)))
        lines += map(_line, self.rows)
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Goal:
    """Something to be reached: at most the limit or, with `least`, at least."""

    what: str
    limit: float
    measured: float
    unit: str = "×"
    least: bool = False

    @property
    def missed_by(self) -> float:
        """By which part of the limit it was missed; at most 0 when it was reached."""
        over = self.measured / self.limit - 1
        return -over if self.least else over

    def row(self) -> tuple[str, ...]:
        unit = f" {self.unit}"
        missed = self.missed_by
        return (
            self.what,
            f"{'≥' if self.least else '≤'} {self.limit:g}{unit}",
            f"{self.measured:.3g}{unit}",
            "reached" if missed <= 0 else f"**missed by {missed:.0%}**",
        )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
