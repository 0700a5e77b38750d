"""A service that counts, and clients at addresses of their own."""

from tests.test_limits import at, settings

__all__ = ["at", "settings"]
