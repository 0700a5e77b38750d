"""A browser before the pages of a service that counts."""

from tests.test_pages import browser, settings

__all__ = ["browser", "settings"]
