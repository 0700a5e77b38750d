"""Settings for tests; `[tool.pytest_env]` in pyproject.toml has what they all share."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.config import Settings, get_settings


@contextmanager
def settings_from(**variables: str) -> Iterator[Settings]:
    """Set environment variables and yield the settings that follow from them.

    Where ENVIRONMENT is not "test", the key of the tests would be refused.
    """
    if variables.get("ENVIRONMENT", "test") != "test":
        variables.setdefault("SECRET_KEY", secrets.token_hex(32))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        get_settings.cache_clear()
        try:
            yield get_settings()
        finally:
            get_settings.cache_clear()
