"""One connection to Redis that carries a whole process.

What is asked while an answer is awaited travels together as the next batch, its
lookups as one MGET. There are no retries: a cache that has to be waited for is worth
less than no cache.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from app.cache.engine.redis.link import Command, Link
from app.cache.engine.store import StoreError

# A process that was busy meanwhile (its timer fires late, or it used the processor for
# half of the time) has not looked for the answer yet: it waits again, not for ever.
_LATE = 0.005  # seconds
_WAITS = 5


@dataclass(slots=True)
class _Job:
    names: Sequence[bytes]
    commands: Sequence[Command]
    replies: asyncio.Future[list[Any]]
    due: float = math.inf  # by the loop's clock
    used: float = 0.0  # of the processor when it was asked, in seconds
    waits: int = _WAITS


class Line:
    """Asks by batches, each request with a deadline of its own.

    `timeout` is that deadline, at first as long as `patience`: that of connecting and
    of a batch, which no request awaits. Both are in seconds. `explain` says what an
    error means.
    """

    def __init__(
        self,
        link: Link,
        patience: float,
        explain: Callable[[Exception], str],
    ) -> None:
        self.timeout = self.patience = patience
        self._link = link
        self._explain = explain
        self._waiting: list[_Job] = []
        self._sent: list[_Job] = []
        self._sender: asyncio.Task[None] | None = None
        self._alarm: asyncio.Handle | None = None
        self._alarm_at = 0.0
        self._nobody = Context()  # what serves all requests keeps none of them

    async def ask(self, *commands: Command, keys: Sequence[bytes] = ()) -> list[Any]:
        """Return the replies to the commands, and then the values of `keys`.

        Raises StoreError for an error among them, and when they do not come in time.
        """
        job = self.post(*commands, keys=keys)
        job.due = asyncio.get_running_loop().time() + self.timeout
        job.used = time.thread_time()
        self._set_alarm(job.due)
        return await job.replies

    def post(self, *commands: Command, keys: Sequence[bytes] = ()) -> _Job:
        """Send commands with the next batch, without waiting for the replies."""
        loop = asyncio.get_running_loop()
        job = _Job(keys, commands, loop.create_future())
        self._waiting.append(job)
        if self._sender is None or self._sender.done():
            self._sender = loop.create_task(
                self._send(), name="cache requests", context=self._nobody
            )
        return job

    def abandon(self, reason: str) -> None:
        """Have nobody wait any longer for what was asked."""
        jobs, self._waiting = [*self._sent, *self._waiting], []
        for job in jobs:
            _refuse(job, StoreError(reason))

    async def close(self) -> None:
        """Give the connection up; who still waits is told."""
        self.abandon("the cache was closed")
        if self._alarm is not None:
            self._alarm.cancel()
        if self._sender is not None:
            self._sender.cancel()
            with suppress(asyncio.CancelledError):
                await self._sender
        await self._link.close()

    def _set_alarm(self, due: float) -> None:
        """Have `_look` called then; one alarm is enough for all, the next one due."""
        if self._alarm is not None:
            if self._alarm_at <= due:
                return
            self._alarm.cancel()
        loop = asyncio.get_running_loop()
        self._alarm_at = due  # uvloop's handles do not all tell
        self._alarm = loop.call_at(due, self._look, context=self._nobody)

    def _look(self) -> None:
        """Refuse what is due."""
        self._alarm = None
        now, used = asyncio.get_running_loop().time(), time.thread_time()
        following = math.inf
        for job in (*self._sent, *self._waiting):
            if job.replies.done():
                continue
            if job.due <= now:
                busy = used - job.used >= self.timeout / 2 or now - job.due >= _LATE
                job.waits -= 1
                if not busy or not job.waits:
                    missed = TimeoutError(f"no answer within {self.timeout} s")
                    _refuse(job, StoreError(self._explain(missed)))
                    continue
                job.due, job.used = now + self.timeout, used
            following = min(following, job.due)
        if following < math.inf:
            self._set_alarm(following)

    async def _send(self) -> None:
        while self._waiting:
            jobs, self._waiting = self._waiting, []
            self._sent = jobs
            names = list(dict.fromkeys(name for job in jobs for name in job.names))
            commands = [command for job in jobs for command in job.commands]
            if names:
                commands.append(("MGET", *names))
            try:
                replies = await self._link.carry(commands)
                values = replies.pop() if names else []
                failed = isinstance(values, Exception)
                found = {} if failed else dict(zip(names, values, strict=True))
            except Exception as error:  # a garbled reply ends in any of them
                # What comes on this connection later would be out of step.
                await self._link.disconnect()
                for job in jobs:
                    self._settle(job, [error])
                continue
            answers = iter(replies)
            for job in jobs:
                got = [next(answers) for _ in job.commands]
                got += [values if failed else found[name] for name in job.names]
                self._settle(job, got)
        self._sent = []

    def _settle(self, job: _Job, got: list[Any]) -> None:
        for reply in got:
            if isinstance(reply, Exception):
                error = StoreError(self._explain(reply))
                error.__cause__ = reply
                _refuse(job, error)
                return
        if not job.replies.done():  # else whoever asked waits no longer
            job.replies.set_result(got)


def _refuse(job: _Job, error: StoreError) -> None:
    if not job.replies.done():
        job.replies.set_exception(error)
        job.replies.exception()  # asyncio would log one that nobody has asked for
