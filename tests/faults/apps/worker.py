"""The service, with its own way to Redis in each worker, which its answers name.

Runs in the rendered service's environment: `uvicorn --factory worker:create_app`.
"""

import os
from pathlib import Path
from typing import Any

URLS = os.environ["FAULTS_REDIS_URLS"].split()
CLAIMS = Path(os.environ["FAULTS_CLAIMS"])


def create_app() -> Any:
    number = claim()
    os.environ["REDIS_URL"] = URLS[number]
    if os.environ["FAULTS_APP"] == "stock":
        from stock import create_app as create_service
    else:
        from app.main import create_app as create_service
    return named(create_service(), str(number).encode())


def claim() -> int:
    """The number of this worker; each has another one."""
    for number in range(len(URLS)):
        try:
            (CLAIMS / str(number)).touch(exist_ok=False)
        except FileExistsError:
            continue
        return number
    raise RuntimeError("too many workers")


def named(app: Any, name: bytes) -> Any:
    async def with_name(scope: Any, receive: Any, send: Any) -> None:
        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-worker", name)]
            await send(message)

        await app(scope, receive, answer)

    return with_name
