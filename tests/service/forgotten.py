"""What FastAPI remembers of functions, which may hold a whole application.

A process has thousands of applications in these tests; to keep them makes it slow.
"""

from collections.abc import Iterator

import pytest
from fastapi.dependencies import models


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Have FastAPI forget the test's functions."""
    yield
    for each in vars(models).values():
        if hasattr(each, "cache_clear"):
            each.cache_clear()
