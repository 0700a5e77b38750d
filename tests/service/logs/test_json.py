"""LOG_FORMAT=json."""

import json
import logging
import warnings
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app import logs
from app.config import Settings
from app.main import create_app
from tests.asgi import lifespan
from tests.people import Person

NAMES = {"email": "a@example.com", "first_name": "A", "last_name": "hush"}


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    logs.configure_logs("INFO", ("REQUESTS", "AUTH"))


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    app = create_app(settings.model_copy(update={"log_format": "json"}))
    async with lifespan(app):
        yield app


def objects(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


async def test_a_request_is_one_object(
    client: httpx.AsyncClient, admin: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    path = f"/users/{admin.id}"
    answer = await client.put(
        path + "?token=hush",
        json=NAMES,
        headers=admin.headers,
    )

    (line,) = objects(capsys)
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line.pop("message").startswith(f"PUT {path} 200 ({line.pop('ms'):.2f}ms)")
    assert line == {
        "level": "INFO",
        "category": "REQUESTS",
        "logger": "app.requests",
        "request_id": answer.headers["X-Request-ID"],
        "method": "PUT",
        "path": path,
        "route": "/users/{user_id}",
        "status": 200,
        "complete": True,
        "cache": None,
    }


def test_a_failure_is_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logs("INFO", (), "json")
    try:
        raise LookupError("the reason\x1b\x7f\u2028")
    except LookupError:
        logging.getLogger("uvicorn.error").exception("failed\r\n\x85 here")

    (shown,) = capsys.readouterr().err.splitlines()
    assert shown.isascii()
    assert shown.isprintable()
    line = json.loads(shown)
    assert (line["level"], line["category"]) == ("ERROR", "SERVER")
    assert line["message"] == "failed\r\n\x85 here"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("LookupError: the reason\x1b\x7f\u2028")


def test_a_record_brings_fields_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logs("INFO", ("AUTH",), "json")
    logs.AUTH.info("logs in", extra={"fields": {"user": 1, "level": {2}}})

    (line,) = objects(capsys)
    assert line["user"] == 1
    assert line["level"] == "INFO"


def test_warnings_of_python_are_objects(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logs("INFO", (), "json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    (line,) = objects(capsys)
    assert line["logger"] == "py.warnings"
