"""A span of OpenTelemetry for what a request asks Redis.

Source: OpenTelemetry's semantic conventions for Redis client operations.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

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
    tracer = _tracer_of(trace.get_tracer_provider())
    span = tracer.start_span(name, kind=trace.SpanKind.CLIENT, attributes=about)
    try:
        yield
    except StoreError as error:
        cause = error.__cause__ or error
        span.set_attribute("error.type", type(cause).__name__)
        span.set_status(trace.StatusCode.ERROR, str(error))
        raise
    finally:
        span.end()


@lru_cache(maxsize=1)
def _tracer_of(provider: trace.TracerProvider) -> trace.Tracer:
    return provider.get_tracer(__name__)
