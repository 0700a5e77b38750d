"""The limit without FastAPI: plain Starlette, each `Response` made once."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message

from benchmarks.apps import prebuilt

service = prebuilt.create_app()
made: dict[str, Response] = {}


async def answer(request: Request) -> Response:
    path = request.scope["path"]
    if path not in made:
        made[path] = await _made_by_the_service(request)
    return made[path]


async def _made_by_the_service(request: Request) -> Response:
    body = b""

    async def keep(message: Message) -> None:
        nonlocal body
        body += message.get("body", b"")

    scope = {"type": "http", "app": service, "state": {}}
    for name in ("path", "method", "headers", "query_string", "http_version", "scheme"):
        scope[name] = request.scope[name]
    await service(scope, request.receive, keep)
    return Response(body, media_type="application/json")


def create_app() -> Starlette:
    paths = ("/users", "/users/{id}", "/users/{id}/keys", "/slow", "/cheap", "/large")
    return Starlette(routes=[Route(p, answer) for p in (*paths, "/body/{size}")])
