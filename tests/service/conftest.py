"""What these tests take from those of the service, and migrations of their own."""

from tests.commands.conftest import ada, run
from tests.service.migrations import migrations

__all__ = ["ada", "migrations", "run"]
