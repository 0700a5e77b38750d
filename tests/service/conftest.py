"""What these tests share with those of the engine: migrations, time and memory."""

from tests.service.forgotten import forgotten
from tests.service.migrations import migrations
from tests.service.patience import patience

__all__ = ["forgotten", "migrations", "patience"]
