"""Where another server than `api-admin serve` runs the application."""

import subprocess
import sys

import pytest


def test_ends_any_server_with_one_line(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "uvicorn", "--port", "0"),
            *("--factory", "app.main:create_app"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert "run: api-admin db upgrade" in ended.stderr
    assert "Traceback" not in ended.stderr
