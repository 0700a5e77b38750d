"""A span of OpenTelemetry for what a request asks Redis.

Where no traces are made when the cache is opened, nothing here is in the way.

Source: OpenTelemetry's semantic conventions for Redis client operations.
"""

from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry import trace

from app.cache.engine.redis.connection import Command, Link
from app.cache.engine.redis.server import Line
from app.cache.engine.store import StoreError


def line_of(link: Link, explain: Callable[[Exception], str]) -> Line:
    """Return a line, which makes spans if the process traces."""
    provider = trace.get_tracer_provider()
    traces = not isinstance(provider, trace.ProxyTracerProvider)
    return (TracedLine if traces else Line)(link, explain)


class TracedLine(Line):
    """Makes a span for each batch that a traced request asks for.

    It says which commands they are, and nothing of keys and values. What the cache asks
    for itself, once a second, is in no request and has none.
    """

    def __init__(self, link: Link, explain: Callable[[Exception], str]) -> None:
        super().__init__(link, explain)
        self._tracer = trace.get_tracer(__name__)

    async def ask(self, *commands: Command, keys: Sequence[bytes] = ()) -> list[Any]:
        if not trace.get_current_span().is_recording():
            return await super().ask(*commands, keys=keys)
        span = self._begin([str(each[0]) for each in commands] + ["MGET"] * bool(keys))
        try:
            return await super().ask(*commands, keys=keys)
        except StoreError as error:
            cause = error.__cause__ or error
            span.set_attribute("error.type", type(cause).__name__)
            span.set_status(trace.StatusCode.ERROR, str(error))
            raise
        finally:
            span.end()

    def _begin(self, names: list[str]) -> trace.Span:
        name = names[0] if len({*names}) == 1 else ""
        about: dict[str, str | int] = {"db.system.name": "redis"}
        if len(names) > 1:
            name = f"PIPELINE {name}".strip()
            about["db.operation.batch.size"] = len(names)
        about["db.operation.name"] = name
        host, port = self._link.address
        if host:
            about |= {"server.address": host, "server.port": port}
        return self._tracer.start_span(
            name, kind=trace.SpanKind.CLIENT, attributes=about
        )
