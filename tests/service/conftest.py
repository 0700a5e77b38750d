"""What these tests share with those of the engine: migrations of their own, time."""

from tests.service.migrations import migrations
from tests.service.patience import patience

__all__ = ["migrations", "patience"]
