"""A browser before the pages of a service that counts."""

import httpx
import pytest

from tests.metrics.conftest import settings
from tests.pages.browser import Browser

__all__ = ["settings"]


@pytest.fixture
def browser(client: httpx.AsyncClient) -> Browser:
    return Browser(client)
