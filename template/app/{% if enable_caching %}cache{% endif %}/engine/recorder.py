"""Storing what a cached route really sent, byte for byte.

It stands right around the route, so it sees the response after validation,
serialisation and the commit, and before any middleware adds to it.
"""

from starlette.types import Message, Send

from app.cache.engine.entry import Pairs
from app.cache.engine.exchange import Exchange, Run
from app.cache.engine.http import (
    CLIENT_POLICY,
    MESSAGE_HEADERS,
    Lifetime,
    answer_to,
    cache_status,
    entity_tag,
    lifetime_of,
    pairs_of,
    with_vary,
)


class Recorder:
    """Holds a response back until it is complete, if it is to be stored."""

    def __init__(self, exchange: Exchange, send: Send) -> None:
        self._exchange = exchange
        self._send = send
        self._start: Message | None = None
        self._silent = True

    async def send(self, message: Message) -> None:
        """Take a message of the route."""
        self._silent = False
        start, self._start = self._start, None
        if message["type"] == "http.response.start":
            self._exchange.reading.forget()  # what streams, or follows, takes its time
            if self._exchange.run is not None or self._exchange.untagged:
                self._start = message
                return
            _describe(message, self._exchange)
        elif start is not None:
            if message["type"] == "http.response.body" and not message.get("more_body"):
                start, message = await self._complete(start, message)
            elif self._exchange.run is not None:
                ticket = self._exchange.run.ticket
                self._exchange.unstored(self._exchange.run.policy, ticket.why_not)
            await self._land(abandoned=False)
            _describe(start, self._exchange)
            await self._send(start)
        await self._send(message)

    async def close(self) -> None:
        """End a run whose response never came."""
        await self._land(abandoned=self._silent)

    async def _land(self, *, abandoned: bool) -> None:
        run, self._exchange.run = self._exchange.run, None
        if run is not None:
            await run.ticket.land(None, abandoned=abandoned)

    async def _complete(
        self, start: Message, message: Message
    ) -> tuple[Message, Message]:
        """Store the response, and answer as a later hit will."""
        exchange, run = self._exchange, self._exchange.run
        body, pairs = message.get("body", b""), pairs_of(start["headers"])
        fresh = pairs_of(run.fresh) if run is not None else ()
        own = tuple(pair for pair in pairs if pair not in fresh)
        ttl, shared = (run.ticket.ttl, run.shared) if run is not None else (0, False)
        lifetime = lifetime_of(own, ttl, shared=shared)
        if start["status"] != 200 or lifetime.why_not:
            if run is not None and start["status"] == 200:
                exchange.unstored(run.policy, lifetime.why_not)
            return start, message
        varies = run.varies if run is not None else set()
        kept = _kept(own, body, varies, weak=exchange.tag_weak)
        if run is not None and not await self._store(
            run, body, own, kept, fresh, lifetime
        ):
            return start, message
        status, headers = answer_to(exchange.headers, kept)
        headers += [
            raw
            for raw, pair in zip(start["headers"], pairs, strict=True)
            if pair in fresh or (status == 200 and pair[0] in MESSAGE_HEADERS)
        ]
        if status != 200:
            message = {"type": message["type"], "body": b""}
        return {**start, "status": status, "headers": headers}, message

    async def _store(
        self,
        run: Run,
        body: bytes,
        own: Pairs,
        kept: Pairs,
        fresh: Pairs,
        lifetime: Lifetime,
    ) -> bool:
        """Store an entry; False when there is none."""
        exchange = self._exchange
        if not run.status:
            exchange.unstored(run.policy, "an exception's handler made its answer")
            return False
        if {name for name, _ in fresh} & {name for name, _ in kept}:
            why = "its handler and a dependency both set a header"
            exchange.unstored(run.policy, why)
            return False
        entry = run.ticket.entry(
            body, run.status, kept, ttl=lifetime.ttl, age=lifetime.age
        )
        if entry is None:
            exchange.unstored(run.policy, run.ticket.why_not)
            return False
        place = run.place(own)
        if place is None:
            return False
        if await run.ticket.store(place, entry):
            exchange.status += ("stored",)
        return True


def _kept(own: Pairs, body: bytes, varies: set[str], *, weak: bool) -> Pairs:
    """Return what an entry has of a response's own headers, and what it adds."""
    names = {name for name, _ in own}
    vary = ", ".join(value for name, value in own if name == "vary")
    added = [("vary", with_vary(vary, varies))]
    if "etag" not in names:
        added.append(("etag", entity_tag(body, weak=weak)))
    if "cache-control" not in names:
        added.append(("cache-control", CLIENT_POLICY))
    left_out = MESSAGE_HEADERS | {"vary"}
    return (*(pair for pair in own if pair[0] not in left_out), *added)


def _describe(start: Message, exchange: Exchange) -> None:
    if exchange.outcome is None:
        return
    status = (b"cache-status", cache_status(exchange.status))
    start["headers"] = [*start["headers"], status]
    if exchange.outcome != "BYPASS":
        start["headers"].append((b"x-fastapi-cache", exchange.outcome.encode("ascii")))
