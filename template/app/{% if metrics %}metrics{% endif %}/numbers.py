"""What is counted. A label has few values, none of which a client can make up."""

from functools import cache
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram

from app.metrics.folder import join

# Seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Numbers:
    """The numbers of this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "http_requests",
            "Requests that were answered, or given up by their client.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "http_request_seconds",
            "How long requests took.",
            ("route",),
            buckets=BUCKETS,
            registry=self.registry,
        )


@cache
def numbers() -> Numbers:
    """Return those of this process: its applications share them."""
    return Numbers(join())
