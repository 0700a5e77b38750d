"""Requests that are larger than anybody needs."""

from starlette.datastructures import Headers
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import BodyTooLarge, HeadTooLarge, QueryTooLong, problem_response

# Bytes.
MAX_QUERY_SIZE = 8_192
MAX_HEADERS_SIZE = 32_768


class Bounds:
    """Refuse a long query, large headers, and a body that its route does not take.

    `max_body_size` is for routes that name none of their own in their decorator.
    """

    def __init__(self, app: ASGIApp, max_body_size: int) -> None:
        self.app = RequestBodyLimitMiddleware(app, max_body_size)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif len(scope["query_string"]) > MAX_QUERY_SIZE:
            await problem_response(QueryTooLong())(scope, receive, send)
        elif sum(len(n) + len(v) for n, v in scope["headers"]) > MAX_HEADERS_SIZE:
            await problem_response(HeadTooLarge())(scope, receive, send)
        else:
            await self.app(scope, receive, _in_our_shape(scope, receive, send))


def _in_our_shape(scope: Scope, receive: Receive, send: Send) -> Send:
    """Send a problem document in place of Starlette's line of text."""
    replaced = False

    async def send_problem(message: Message) -> None:
        nonlocal replaced
        if message["type"] == "http.response.start" and message["status"] == 413:
            media_type = Headers(raw=message["headers"]).get("content-type", "")
            if media_type.startswith("text/plain"):
                replaced = True
                await problem_response(BodyTooLarge())(scope, receive, send)
        if not replaced:
            await send(message)

    return send_problem
