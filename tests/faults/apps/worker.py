"""The service, whose answers name the worker, and say whether they had to wait for it.

Runs in the rendered service's environment: `uvicorn --factory worker:create_app`.
"""

import os
from typing import Any

WORKER = os.environ["FAULTS_WORKER"].encode()


def create_app() -> Any:
    if os.environ["FAULTS_APP"] == "stock":
        from stock import create_app as create_service

        return with_header(create_service(), b"x-worker", WORKER)

    from deadlines import marked, watch

    from app.main import create_app as create_service

    watch()
    return with_header(marked(create_service()), b"x-worker", WORKER)


def with_header(app: Any, name: bytes, value: bytes) -> Any:
    async def with_it(scope: Any, receive: Any, send: Any) -> None:
        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (name, value)]
            await send(message)

        await app(scope, receive, answer)

    return with_it
