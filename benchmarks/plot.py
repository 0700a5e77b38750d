"""One small plot as SVG."""

import io
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """What one contender did, at each point of the horizontal axis."""

    name: str
    points: Sequence[tuple[float, float]]


def plot(
    title: str,
    horizontal: str,
    vertical: str,
    lines: Sequence[Line],
    *,
    logarithmic: bool = True,
) -> str:
    """Return a plot of the lines; both axes count in powers of ten if logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    # Text stays text, and the same numbers give the same file.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": title})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for line in lines:
        axes.plot(*zip(*line.points, strict=True), marker="o", label=line.name)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
        axes.locator_params(axis="x", integer=True)
    axes.set(title=title, xlabel=horizontal, ylabel=vertical)
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    return text.getvalue()
