"""A place with a `.env`, and nothing of what the tests' environment sets."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.config import get_settings
from app.config.load import setting_names

SECRET_KEY = "0f1c7b9e5a2d48368c4b6f0a1e9d7352"
REQUIRED = {"SECRET_KEY": SECRET_KEY, "DATABASE_URL": "sqlite+aiosqlite:///app.db"}

WriteEnv = Callable[..., Path]


@pytest.fixture
def write_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WriteEnv]:
    """Yield a function that writes `.env`, with the required settings and some more."""
    for name in (*setting_names(), "ENV_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    get_settings.cache_clear()

    def write(*lines: str, without: str = "") -> Path:
        required = [f"{k}={v}" for k, v in REQUIRED.items() if k != without]
        file = tmp_path / ".env"
        file.write_text("\n".join([*required, *lines]))
        return file

    yield write
    get_settings.cache_clear()
