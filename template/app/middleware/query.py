"""No query string in a trace."""

from opentelemetry import trace
from starlette.types import ASGIApp, Receive, Scope, Send


class HiddenQuery:
    """Hide the query that FastAPI has put into a request's span: it may hold a token.

    It is the outermost, so that it also runs where another one refuses the request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["query_string"]:
            trace.get_current_span().set_attribute("url.query", "REDACTED")
        await self.app(scope, receive, send)
