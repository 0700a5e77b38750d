"""The connection to the server that has the keys of this service.

All of them have one hash tag (`{prefix}`, see `name_of`), so a cluster has them in one
slot, on one node. `Link` goes where the cluster says that it is, and asks the nodes in
turn when the one that it knows does not answer. Sentinels are asked at each connect.

Source: the Redis cluster specification, "Redirection and resharding".
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from hiredis import pack_command
from redis.asyncio.connection import (
    AbstractConnection,
    ConnectionPool,
    SSLConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.maint_notifications import MaintNotificationsConfig

from app.cache.engine.store import StoreError

Command = tuple[bytes | str | int, ...]
Address = tuple[str, int]

_HOPS = 5  # from node to node, for one batch
_SENTINEL = "+sentinel"
_SENTINEL_PORT = 26379


def name_of(key: str) -> bytes:
    """Return what a key is called in Redis: its first segment is the hash tag."""
    prefix, colon, rest = key.partition(":")
    return f"{{{prefix}}}{colon}{rest}".encode("utf-8", "surrogatepass")


def key_of(name: bytes) -> str:
    """Return the key that is called this in Redis."""
    prefix, _, rest = name.decode("utf-8", "surrogatepass").partition("}")
    return f"{prefix.removeprefix('{')}{rest}"


class Link:
    """One connection, to whichever server has the keys; `patience` is in seconds.

    `greet` makes a new connection ready.
    """

    def __init__(
        self, url: str, patience: float, greet: Callable[[AbstractConnection], Any]
    ) -> None:
        self._patience = patience
        self._pool, self._sentinels = _pool(
            url,
            patience,
            socket_timeout=None,  # each batch has one deadline, not each reply
            socket_connect_timeout=patience,
            redis_connect_func=greet,
        )
        self._connection: Any = self._pool.make_connection()
        self._given = self.address
        self._nodes: list[Address] = []  # of the cluster, if it is one
        self._lost = 0

    @property
    def address(self) -> Address:
        """Where the server is; a socket in the file system has no address."""
        return getattr(self._connection, "host", ""), getattr(
            self._connection, "port", 0
        )

    def learn(self, slots: Any) -> None:
        """Note the cluster's nodes, from a reply to CLUSTER SLOTS."""
        found = [node for _, _, *nodes in slots for node in nodes if node[0]]
        self._nodes = [(host.decode(), port) for host, port, *_ in found]

    async def carry(self, commands: Sequence[Command]) -> list[Any]:
        """Return the replies, of which some may be errors.

        Raises what redis-py does when no server answers, and TimeoutError.
        """
        replies: list[Any] = [None] * len(commands)
        todo = list(range(len(commands)))
        for _ in range(_HOPS):
            await self._connect()
            async with asyncio.timeout(self._patience):
                got = await self.exchange(self._connection, [commands[n] for n in todo])
            for n, reply in zip(todo, got, strict=True):
                replies[n] = reply
            todo = [n for n in todo if isinstance(replies[n], MovedError)]
            if not todo:
                break
            await self.disconnect()
            self._go_to(replies[todo[-1]])
        if any(isinstance(each, ClusterDownError | ReadOnlyError) for each in replies):
            await self.disconnect()
            self._go_elsewhere()
        return replies

    async def exchange(
        self, connection: AbstractConnection, commands: Sequence[Command]
    ) -> list[Any]:
        """Ask by this connection; where a slot is under way, also where it goes."""
        replies = await round_trip(connection, commands)
        for n, reply in enumerate(replies):
            if isinstance(reply, TryAgainError) and commands[n][0] == "MGET":
                # Some are here, some there: each by itself is found.
                each: list[Command] = [("MGET", name) for name in commands[n][1:]]
                parts = await self.exchange(connection, each)
                failed = [part for part in parts if isinstance(part, Exception)]
                replies[n] = failed[0] if failed else [part[0] for part in parts]
        asked = [n for n, reply in enumerate(replies) if type(reply) is AskError]
        if asked:
            there = await self._ask(replies[asked[0]], [commands[n] for n in asked])
            for n, reply in zip(asked, there, strict=True):
                replies[n] = reply
        return replies

    async def disconnect(self) -> None:
        await self._connection.disconnect(nowait=True)

    async def close(self) -> None:
        await self.disconnect()
        for sentinel in self._sentinels:
            await sentinel.aclose()

    async def _connect(self) -> None:
        connection = self._connection
        if connection.is_connected and await connection.can_read():
            await self.disconnect()  # it was closed meanwhile
        for _ in range(_HOPS):
            if connection.is_connected:
                return
            try:
                async with asyncio.timeout(self._patience):
                    await connection.connect()
            except MovedError as moved:
                self._go_to(moved)
            except BaseException:
                self._go_elsewhere()
                raise
        raise ConnectionError("the cluster's nodes send from one to the other")

    async def _ask(self, where: AskError, commands: Sequence[Command]) -> list[Any]:
        """Ask the node to which the slot is moved, for these commands only."""
        about = dict(self._pool.connection_kwargs)
        about |= {"host": where.host or self.address[0], "port": where.port}
        about["redis_connect_func"] = None
        other = self._pool.connection_class(**about)
        try:
            await other.connect()
            batch = [each for command in commands for each in (("ASKING",), command)]
            return (await round_trip(other, batch))[1::2]
        finally:
            await other.disconnect(nowait=True)

    def _go_to(self, moved: MovedError) -> None:
        # No host: the one that says so.
        self._move(moved.host or self.address[0], moved.port)

    def _go_elsewhere(self) -> None:
        """Try the next node at the next connect: the one that is given, or another."""
        if self._nodes:
            self._lost += 1
            places = [self._given, *self._nodes]
            self._move(*places[self._lost % len(places)])

    def _move(self, host: str, port: int) -> None:
        self._connection.host, self._connection.port = host, port


def _pool(url: str, patience: float, **options: Any) -> tuple[Any, Sequence[Any]]:
    """Return what makes connections, and the Sentinels that it asks; see `RedisServer`.

    Raises ValueError for what is no address. redis-py types little of it.
    """
    options |= {
        "retry": Retry(NoBackoff(), 0),
        # They would make a connection wait for longer.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    parts = urlsplit(url)
    if not parts.scheme.endswith(_SENTINEL):
        return ConnectionPool.from_url(url, **options), ()
    login, at, hosts = parts.netloc.rpartition("@")
    name, _, database = parts.path.strip("/").partition("/")
    scheme = parts.scheme.removesuffix(_SENTINEL)
    server = (scheme, f"{login}{at}-", f"/{database or 0}", parts.query, "")
    given: dict[str, Any] = {**parse_url(urlunsplit(server))}
    given.pop("host")
    tls = given.pop("connection_class", None) is SSLConnection
    places = [urlsplit(f"//{host}") for host in hosts.split(",")]
    manager = Sentinel(  # type: ignore[no-untyped-call]
        [(each.hostname or "", each.port or _SENTINEL_PORT) for each in places],
        sentinel_kwargs={
            "password": given.pop("sentinel_password", None),
            "socket_timeout": patience / len(places),  # so that each gets its turn
            "socket_connect_timeout": patience / len(places),
            "retry": options["retry"],
            "ssl": tls,
            **{key: value for key, value in given.items() if key.startswith("ssl_")},
        },
    )
    pool = SentinelConnectionPool(  # type: ignore[no-untyped-call]
        name or "mymaster", manager, ssl=tls, **given, **options
    )
    return pool, manager.sentinels


async def round_trip(
    connection: AbstractConnection, commands: Sequence[Command]
) -> list[Any]:
    """Send commands together; return their replies, of which some may be errors."""
    if not commands:
        return []  # asyncio, from Python 3.12 on, would try to send nothing for ever
    # It is typed for tuples of one.
    packed = b"".join(pack_command(c) for c in commands)  # type: ignore[arg-type]
    await connection.send_packed_command(packed, check_health=False)
    replies: list[Any] = []
    for _ in commands:
        try:
            replies.append(await connection.read_response())
        except ResponseError as error:
            replies.append(error)
    return replies


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
