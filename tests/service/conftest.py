"""What these tests take from those of the engine's: migrations of their own."""

from tests.service.migrations import migrations

__all__ = ["migrations"]
