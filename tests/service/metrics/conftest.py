"""A service whose numbers a test may read."""

from tests.test_metrics import settings

__all__ = ["settings"]
