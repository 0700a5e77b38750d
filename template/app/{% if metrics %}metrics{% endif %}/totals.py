"""All numbers, of all processes of this service, added up."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app.metrics.cache import saved
from app.metrics.folder import forget_dead
from app.metrics.numbers import numbers


class Totals(Collector):
    """What the processes have written, and what follows from it."""

    def collect(self) -> Iterator[Metric]:
        folder = numbers().folder
        forget_dead(folder)
        files = [str(file) for file in folder.glob("*.db")]
        # The library does not say its types.
        merge: Callable[[list[str]], Iterable[Metric]] = MultiProcessCollector.merge
        found = list(merge(files))
        yield from found
        yield from saved(found)


def totals() -> CollectorRegistry:
    """Return a registry whose `collect` gives the numbers as they are then."""
    registry = CollectorRegistry()
    registry.register(Totals())
    return registry
