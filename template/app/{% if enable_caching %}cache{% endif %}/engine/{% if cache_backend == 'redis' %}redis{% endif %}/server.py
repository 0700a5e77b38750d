"""The cache in Redis or Valkey, shared by all processes.

`Line` asks the server in batches, `RedisServer` has what there is to ask.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from contextvars import Context
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from hiredis import pack_command
from opentelemetry import trace
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from app.cache.engine.cache import VERSION_TTL
from app.cache.engine.entry import ROOT, ConfigurationError, new_version, version_place
from app.cache.engine.redis.connection import Command, Link
from app.cache.engine.redis.settings import RedisSettings, explain
from app.cache.engine.redis.spans import span_of
from app.cache.engine.store import StoreError

log = logging.getLogger("app.cache")


def name_of(key: str) -> bytes:
    """Return what a key is called in Redis: its first segment is the hash tag."""
    prefix, colon, rest = key.partition(":")
    return f"{{{prefix}}}{colon}{rest}".encode("utf-8", "surrogatepass")


def key_of(name: bytes) -> str:
    """Return the key that is called this in Redis."""
    prefix, _, rest = name.decode("utf-8", "surrogatepass").partition("}")
    return f"{prefix.removeprefix('{')}{rest}"


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


# A process that is told of the deadline late was busy, and has not looked for the
# answer yet: it waits again, not for ever.
_LATE = 0.005  # seconds
_WAITS = 5
_HOPS = 5  # from node to node of a cluster, for one batch


@dataclass(slots=True)
class _Job:
    names: Sequence[bytes]
    commands: Sequence[Command]
    replies: asyncio.Future[list[Any]]


class Line:
    """Asks by batches, each request with a deadline of its own.

    `timeout` is that deadline, at first as long as the `patience` of its link: that of
    connecting and of a batch, which no request awaits. Both are in seconds. `explain`
    says what an error means.
    """

    def __init__(self, link: Link, explain: Callable[[Exception], str]) -> None:
        self.timeout = self.patience = link.patience
        self._link = link
        self._explain = explain
        self._waiting: list[_Job] = []
        self._sent: list[_Job] = []
        self._sender: asyncio.Task[None] | None = None
        self._nobody = Context()  # what serves all requests keeps none of them

    async def ask(self, *commands: Command, keys: Sequence[bytes] = ()) -> list[Any]:
        """Return the replies to the commands, and then the values of `keys`.

        What is asked for while a batch is under way is in the next one. Raises
        StoreError for an error among the replies, and when they do not come in time.
        """
        traced = trace.get_current_span().is_recording()
        with span_of(self._link, commands, keys) if traced else nullcontext():
            return await self._ask_in_time(commands, keys)

    async def _ask_in_time(
        self, commands: Sequence[Command], keys: Sequence[bytes]
    ) -> list[Any]:
        loop = asyncio.get_running_loop()
        job = _Job(keys, commands, loop.create_future())
        self._waiting.append(job)
        if self._sender is None or self._sender.done():
            self._sender = loop.create_task(
                self._send(), name="cache requests", context=self._nobody
            )
        for _ in range(_WAITS):
            due = loop.time() + self.timeout
            await asyncio.wait([job.replies], timeout=self.timeout)
            if job.replies.done():
                return job.replies.result()
            if loop.time() - due < _LATE:
                break
        missed = TimeoutError(f"no answer within {self.timeout} s")
        raise StoreError(self._explain(missed))

    def abandon(self, reason: str) -> None:
        """Have nobody wait any longer for what was asked."""
        jobs, self._waiting = [*self._sent, *self._waiting], []
        for job in jobs:
            _refuse(job, StoreError(reason))

    async def close(self) -> None:
        """Give the connection up; who still waits is told."""
        self.abandon("the cache was closed")
        if self._sender is not None:
            self._sender.cancel()
            with suppress(asyncio.CancelledError):
                await self._sender
        await self._link.close()

    async def _send(self) -> None:
        while self._waiting:
            jobs, self._waiting = self._waiting, []
            self._sent = jobs
            names = list(dict.fromkeys(name for job in jobs for name in job.names))
            commands = [command for job in jobs for command in job.commands]
            if names:
                commands.append(("MGET", *names))
            try:
                replies = await self._carry(commands)
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

    async def _carry(self, commands: Sequence[Command]) -> list[Any]:
        """Return the replies, of which some may be errors.

        Raises what redis-py does when no server answers, and TimeoutError.
        """
        link = self._link
        for _ in range(_HOPS):
            connection = link.connection
            if connection.is_connected and await connection.can_read():
                await link.disconnect()  # it was closed meanwhile
            try:
                if not connection.is_connected:
                    await link.connect()
                async with asyncio.timeout(link.patience):
                    replies = await self.exchange(connection, commands)
                for reply in replies:
                    if isinstance(reply, MovedError):
                        raise reply
            except MovedError as moved:  # all is asked again there, which is the same
                await link.disconnect()
                link.go_to(moved)
                continue
            if any(isinstance(r, ClusterDownError | ReadOnlyError) for r in replies):
                await link.disconnect()
                link.go_elsewhere()
            return replies
        raise ConnectionError("the cluster's nodes send from one to the other")

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

    async def _ask(self, where: AskError, commands: Sequence[Command]) -> list[Any]:
        """Ask the node to which the slot is moved, for these commands only."""
        other = self._link.to(where)
        try:
            await other.connect()
            batch = [each for command in commands for each in (("ASKING",), command)]
            return (await round_trip(other, batch))[1::2]
        finally:
            await other.disconnect(nowait=True)

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


# Give a lease back only if it is still ours; key and value are arguments, not text.
_RELEASE = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then "
    "return redis.call('DEL', KEYS[1]) else return 0 end"
)

# Have a version that is still that of ARGV live for at least ARGV[1] seconds.
_EXTEND = """
if redis.call('GET', KEYS[1]) == ARGV[2]
    and redis.call('TTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('EXPIRE', KEYS[1], ARGV[1])
end
"""

# Close a version, or replace it, with ARGV: owner, milliseconds (0 to replace),
# version, seconds. A closed one is "!owner:deadline owner:deadline", by the clock of
# the server.
# Where memory is full, deleting a version does as well as replacing it.
_SET = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local fences, last = {}, 0
local function add(owner, deadline)
  table.insert(fences, owner .. ':' .. string.format('%.0f', deadline))
  last = math.max(last, deadline)
end
local old = redis.pcall('GET', KEYS[1])
if type(old) == 'string' and string.sub(old, 1, 1) == '!' then
  for owner, deadline in string.gmatch(old, '([^! ]+):(%d+)') do
    deadline = tonumber(deadline)
    if owner ~= ARGV[1] and deadline > now then add(owner, deadline) end
  end
end
if tonumber(ARGV[2]) > 0 then add(ARGV[1], now + ARGV[2]) end
if #fences > 0 then
  local value = '!' .. table.concat(fences, ' ')
  return redis.call('SET', KEYS[1], value, 'PX', last - now)
end
local done = redis.pcall('SET', KEYS[1], ARGV[3], 'EX', ARGV[4])
return done.err and redis.call('DEL', KEYS[1]) or done
"""


_RUN = re.compile(rb"^(?:run_id|master_replid):(\w+)", re.MULTILINE)
_REMEMBERED = 2_764_800  # seconds for which the data knows its server
_PATIENCE = 1.0  # seconds for a connection, and for a batch, where no request waits


class RedisServer:
    """A store on one connection of redis-py's. It begins patient.

    Beside redis-py's addresses, redis+sentinel://user:password@host:port,host:port/name/0
    names Sentinels, and the primary that they know by that name.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self._prefix = settings.cache_prefix
        self._warned = False
        self._run = b""  # of the server that was used last
        self.lost = 0  # how often everything was dropped, as it may lack invalidations
        patience = max(_PATIENCE, settings.cache_timeout)
        try:
            link = Link(settings.redis_location(), patience, self._greet)
        except ValueError:  # its text has what it could not read
            raise ConfigurationError(
                "REDIS_URL is no address of a server: write it as in "
                "redis://user:password@host:port/0, with special characters in the "
                "password URL-encoded."
            ) from None
        self._link = link
        self.line = Line(link, lambda error: explain(error, settings))

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return await self.line.ask(keys=[name_of(key) for key in keys])

    async def put(
        self,
        key: str,
        value: bytes,
        expire: int,
        versions: Mapping[str, bytes] = MappingProxyType({}),
        lease: str = "",
        owner: bytes = b"",
    ) -> None:
        commands: list[Command] = [("SET", name_of(key), value, "EX", expire)]
        for name, version in versions.items():
            extend = ("EVAL", _EXTEND, 1, name_of(name), expire + 1, version)
            commands.append(extend)
        if lease:
            commands.append(_give_back(lease, owner))
        await self.line.ask(*commands)

    async def add_many(self, values: dict[str, bytes], expire: int) -> list[bytes]:
        names = [name_of(key) for key in values]
        commands: list[Command] = [
            ("SET", name, value, "EX", expire, "NX", "GET")
            for name, value in zip(names, values.values(), strict=True)
        ]
        stored = await self._own(names, *commands)
        return [old or new for old, new in zip(stored, values.values(), strict=True)]

    async def fence(self, keys: Collection[str], owner: bytes, seconds: float) -> None:
        ms = max(1, round(seconds * 1000))
        await self.line.ask(*(_set(key, owner, ms) for key in keys))

    async def renew(
        self, versions: dict[str, bytes], expire: int, owner: bytes = b""
    ) -> None:
        each = versions.items()
        await self.line.ask(*(_set(key, owner, 0, new, expire) for key, new in each))

    async def acquire(
        self, lease: str, owner: bytes, seconds: int, key: str
    ) -> tuple[bool, bytes | None]:
        name = name_of(lease)
        # GET has it fail at once, not be refused for ever, where no lease is stored.
        take: Command = ("SET", name, owner, "PX", seconds * 1000, "NX", "GET")
        # MGET finds nothing where GET would refuse.
        holder, (value,) = await self._own([name], take, ("MGET", name_of(key)))
        return holder in {None, owner}, value  # ours, where it was asked for again

    async def release(self, lease: str, owner: bytes) -> None:
        await self.line.ask(_give_back(lease, owner))

    async def ping(self) -> None:
        await self.line.ask(("PING",))

    async def check(self) -> None:
        """Do once whatever the cache does; StoreError says what is refused."""
        key = f"{self._prefix}:check:{new_version()}"
        await asyncio.gather(
            self.put(key, b"", 1, {key: b""}),
            self.fence([key], b"check", 1),
            self.renew({key: b"token"}, 1, b"check"),
            self.acquire(f"{key}:lease", b"check", 1, key),
            self.release(f"{key}:lease", b"check"),
            self.get_many([key]),
        )

    async def close(self) -> None:
        await self.line.close()

    async def _own(self, names: list[bytes], *commands: Command) -> list[Any]:
        """Ask; drop first what is there if it is no text, which none of ours is not."""
        try:
            return await self.line.ask(*commands)
        except StoreError as error:
            if not str(error.__cause__).startswith("WRONGTYPE"):
                raise
        await self.line.ask(*(("DEL", name) for name in names))
        return await self.line.ask(*commands)

    async def _greet(self, connection: AbstractConnection) -> None:
        """Make a new connection ready, and see whose data is there.

        A server that was restored from disk, emptied, or made the primary in another
        one's place may lack invalidations that the one before it has confirmed. So the
        data says which run of which server wrote it last. Where that is not the one
        that answers, everything is invalidated before anything is read.
        """
        try:
            await connection.on_connect()
            await self._recognise(connection, name_of(f"{self._prefix}:server"))
        except BaseException:  # redis-py would use it as it is
            await connection.disconnect(nowait=True)
            raise

    async def _recognise(self, connection: AbstractConnection, key: bytes) -> None:
        ask = self.line.exchange
        about, slots, wrote = await ask(
            connection,
            [("INFO", "server", "replication"), ("CLUSTER", "SLOTS"), ("GET", key)],
        )
        if isinstance(wrote, MovedError):
            raise wrote
        if not isinstance(slots, Exception):  # else it is no cluster
            self._link.learn(slots)
        refused = isinstance(about, Exception)
        run = b"" if refused else b" ".join(_RUN.findall(about))
        # Of two primaries at a time, one loses what this process has invalidated in it.
        if run and wrote == run and self._run in {b"", run}:
            self._run = run
            return
        if refused and not self._warned:
            self._warned = True
            log.warning(
                "Redis does not say which server it is (%s), so every new connection "
                "drops everything that is cached. Let the ACL user run INFO.",
                about,
            )
        root = version_place(self._prefix, ROOT)
        renewal = _set(root, b"", 0, new_version(), VERSION_TTL)
        for command in (renewal, ("SET", key, run, "EX", _REMEMBERED)):
            (reply,) = await ask(connection, [command])
            if isinstance(reply, Exception):
                raise reply
        self.lost += bool(wrote or self._run)  # else nothing was there to be dropped
        self._run = run


def _set(version: str, owner: bytes, *rest: bytes | str | int) -> Command:
    return ("EVAL", _SET, 1, name_of(version), owner, *rest)


def _give_back(lease: str, owner: bytes) -> Command:
    return ("EVAL", _RELEASE, 1, name_of(lease), owner)
