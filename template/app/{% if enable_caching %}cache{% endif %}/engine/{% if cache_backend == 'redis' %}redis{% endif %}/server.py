"""The cache in Redis or Valkey, shared by all processes."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from app.cache.engine.cache import VERSION_TTL
from app.cache.engine.entry import ROOT, ConfigurationError, new_version, version_place
from app.cache.engine.redis.advice import explain
from app.cache.engine.redis.line import Command, Line
from app.cache.engine.redis.markers import UNDELIVERED, Marker
from app.cache.engine.redis.origin import recognise
from app.cache.engine.redis.settings import RedisSettings
from app.cache.engine.store import StoreError

# Give a lease back only if it is still ours; key and value are arguments, not text.
_RELEASE = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then "
    "return redis.call('DEL', KEYS[1]) else return 0 end"
)

# Have versions that are still those of ARGV live for at least ARGV[1] seconds.
_EXTEND = """
for n, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[n + 1] and redis.call('TTL', key) < ARGV[1] + 0 then
    redis.call('EXPIRE', key, ARGV[1])
  end
end
"""

# Close a version, or replace it, with ARGV: owner, milliseconds (0 to replace),
# version, seconds. A closed one is "!owner:deadline owner:deadline", by the clock of
# the server.
# Where memory is full, deleting a version does as well as replacing it.
_FENCE = """
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


_REMEMBERED = 2_764_800  # seconds for which the data knows its server
_PATIENCE = 1.0  # seconds for a connection, and for a batch, where no request waits


class RedisServer:
    """A store on one connection of redis-py's, see `Line`.

    `timeout` is the deadline of an operation, in seconds; `patience` is one for what no
    request awaits.
    """

    fallback = False

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self.patience = max(_PATIENCE, settings.cache_timeout)
        try:
            pool = ConnectionPool.from_url(
                settings.redis_location(),
                socket_timeout=None,  # each batch has one deadline, not each reply
                socket_connect_timeout=self.patience,
                retry=Retry(NoBackoff(), 0),
                # They would make a connection wait for longer.
                maint_notifications_config=MaintNotificationsConfig(enabled=False),
                redis_connect_func=self._greet,
            )
        except ValueError:  # its text has what it could not read
            raise ConfigurationError(
                "REDIS_URL is none: redis://user:password@host:port/0 is one, with "
                "special characters in the password URL-encoded."
            ) from None
        self._line = Line(
            pool.make_connection(),  # type: ignore[no-untyped-call]  # redis-py has none
            settings.cache_timeout,
            self.patience,
            lambda error: explain(error, settings),
        )

    @property
    def timeout(self) -> float:
        return self._line.timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._line.timeout = seconds

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return await self._line.ask(keys=[_name(key) for key in keys])

    async def put(
        self,
        key: str,
        value: bytes,
        expire: int,
        versions: Mapping[str, bytes] = MappingProxyType({}),
        lease: str = "",
        owner: bytes = b"",
    ) -> None:
        commands: list[Command] = [("SET", _name(key), value, "EX", expire)]
        if versions:
            names, of = map(_name, versions), versions.values()
            count = len(versions)
            commands.append(("EVAL", _EXTEND, count, *names, expire + 1, *of))
        if lease:
            commands.append(_given_back(lease, owner))
        await self._line.ask(*commands)

    async def add_many(self, values: dict[str, bytes], expire: int) -> list[bytes]:
        names = [_name(key) for key in values]
        commands: list[Command] = [
            ("SET", name, value, "EX", expire, "NX", "GET")
            for name, value in zip(names, values.values(), strict=True)
        ]
        stored = await self._own(names, *commands)
        return [old or new for old, new in zip(stored, values.values(), strict=True)]

    async def remove(self, key: str) -> bool:
        return bool((await self._line.ask(("DEL", _name(key))))[0])

    async def fence(self, keys: Collection[str], owner: bytes, seconds: float) -> None:
        ms = max(1, round(seconds * 1000))
        await self._line.ask(
            *(("EVAL", _FENCE, 1, _name(key), owner, ms) for key in keys)
        )

    async def renew(
        self, versions: dict[str, bytes], expire: int, owner: bytes = b""
    ) -> None:
        await self._line.ask(
            *(
                ("EVAL", _FENCE, 1, _name(key), owner, 0, version, expire)
                for key, version in versions.items()
            )
        )

    async def acquire(
        self, lease: str, owner: bytes, seconds: int, key: str
    ) -> tuple[bool, bytes | None]:
        name = _name(lease)
        # GET has it fail at once, not be refused for ever, where no lease is stored.
        take: Command = ("SET", name, owner, "PX", seconds * 1000, "NX", "GET")
        # MGET finds nothing where GET would refuse.
        holder, (value,) = await self._own([name], take, ("MGET", _name(key)))
        return holder is None, value

    async def release(self, lease: str, owner: bytes) -> None:
        # Nobody waits for it: a lease that is not given back runs out.
        self._line.post(_given_back(lease, owner))

    async def processes(self) -> dict[str, dict[str, Any]]:
        """Return what each running process last said of its cache."""
        prefix = f"{self._settings.cache_prefix}:process:"
        found = {}
        async for key, _ in self.survey(prefix):
            value = (await self.get_many([key]))[0]
            with suppress(ValueError, TypeError):
                found[key.removeprefix(prefix)] = dict(json.loads(value or b""))
        return found

    async def open(self) -> None:
        await self.ping()

    async def ping(self) -> None:
        await self._line.ask(("PING",))

    def health(self) -> dict[str, str | float]:
        return {}

    async def check(self) -> None:
        """Do once whatever the cache does; StoreError says what is refused."""
        key = f"{self._settings.cache_prefix}:check:{new_version()}"
        await asyncio.gather(
            self.put(key, b"", 1, {key: b""}),
            self.fence([key], b"check", 1),
            self.renew({key: b"token"}, 1, b"check"),
            self.acquire(f"{key}:lease", b"check", 1, key),
            self.release(f"{key}:lease", b"check"),
            self.get_many([key]),
        )

    async def describe(self) -> dict[str, str]:
        (text,) = await self._line.ask(("INFO",))
        info = dict(re.findall(r"^(\w+):(.*?)\r?$", text.decode(), re.MULTILINE))
        version = info.get("valkey_version") or info["redis_version"]
        limit = info["maxmemory_human"] if info["maxmemory"] != "0" else "no limit"
        return {
            "server": f"{info.get('server_name', 'redis')} {version}",
            "address": self._settings.redis_location(masked=True),
            "memory": f"{info['used_memory_human']} used, {limit}, "
            f"{info['maxmemory_policy']}",
            "evicted keys": info["evicted_keys"],
            "clients": info["connected_clients"],
            "undelivered": self.undelivered(),
        }

    def undelivered(self) -> str:
        waiting = Marker(UNDELIVERED).others()
        return f"invalidations of {waiting} processes" if waiting else "none"

    async def survey(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", _name(prefix)) + b"*"
        cursor: bytes | None = b"0"
        while cursor is not None:
            # SCAN, a page at a time, does not hold the server up as KEYS would.
            page = ("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            ((after, names),) = await self._line.ask(page)
            sizes = await self._line.ask(*(("MEMORY", "USAGE", n) for n in names))
            for name, size in zip(names, sizes, strict=True):
                yield name.decode("utf-8", "surrogatepass"), size or 0
            cursor = after if int(after) else None

    async def close(self) -> None:
        await self._line.close()

    def abandon(self, reason: str) -> None:
        """Have nobody wait any longer for what was asked."""
        self._line.abandon(reason)

    async def _own(self, names: list[bytes], *commands: Command) -> list[Any]:
        """Ask; drop first what is there if it is no text, which none of ours is not."""
        try:
            return await self._line.ask(*commands)
        except StoreError as error:
            if not str(error.__cause__).startswith("WRONGTYPE"):
                raise
        await self._line.ask(("DEL", *names))
        return await self._line.ask(*commands)

    async def _greet(self, connection: AbstractConnection) -> None:
        """Make a new connection ready."""
        prefix = self._settings.cache_prefix
        root = _name(version_place(prefix, ROOT))
        renewal = ("EVAL", _FENCE, 1, root, b"", 0, new_version(), VERSION_TTL)
        try:
            await connection.on_connect()
            await recognise(connection, _name(f"{prefix}:server"), _REMEMBERED, renewal)
        except BaseException:  # redis-py would use it as it is
            await connection.disconnect(nowait=True)
            raise


def _given_back(lease: str, owner: bytes) -> Command:
    return ("EVAL", _RELEASE, 1, _name(lease), owner)


def _name(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")
