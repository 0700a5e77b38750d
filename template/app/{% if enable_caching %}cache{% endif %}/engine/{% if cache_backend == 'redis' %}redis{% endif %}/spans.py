"""A span of OpenTelemetry for what a request asks Redis.

Source: OpenTelemetry's semantic conventions for Redis client operations.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace

from app.cache.engine.redis.connection import Command, Link
from app.cache.engine.store import StoreError


@contextmanager
def span_of(
    link: Link, commands: Sequence[Command], keys: Sequence[bytes]
) -> Iterator[None]:
    """Make a span, within that of a traced request, of what it asks for in here.

    It says which commands they are, and nothing of keys and values. What the cache asks
    for itself, once a second, is in no request and has none.
    """
    names = [str(each[0]) for each in commands] + ["MGET"] * bool(keys)
    name = names[0] if len({*names}) == 1 else ""
    about: dict[str, str | int] = {"db.system.name": "redis"}
    if len(names) > 1:
        name = f"PIPELINE {name}".strip()
        about["db.operation.batch.size"] = len(names)
    about["db.operation.name"] = name
    host, port = link.address
    if host:
        about |= {"server.address": host, "server.port": port}
    with trace.get_tracer(__name__).start_as_current_span(
        name, kind=trace.SpanKind.CLIENT, attributes=about, record_exception=False
    ) as span:
        try:
            yield
        except StoreError as error:
            cause = error.__cause__ or error
            span.set_attribute("error.type", type(cause).__name__)
            raise
