"""What commands see of the Redis that they share with the running service."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from app.cache.engine.processes import Marker, epoch_file
from app.cache.engine.redis.breaker import UNDELIVERED
from app.cache.engine.redis.server import RedisServer, key_of, name_of
from app.cache.engine.redis.settings import RedisSettings


class Inside:
    """The store in Redis, for who has the time to look around in it; see `Shared`."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._redis = RedisServer(settings)
        self.ping = self._redis.ping
        self.close = self._redis.close

    async def describe(self) -> dict[str, str]:
        (text,) = await self._redis.line.ask(("INFO",))
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

    async def processes(self) -> dict[str, dict[str, Any]]:
        prefix = f"{self._settings.cache_prefix}:process:"
        found = {}
        async for key, _ in self.survey(prefix):
            value = (await self._redis.get_many([key]))[0]
            with suppress(ValueError, TypeError):
                found[key.removeprefix(prefix)] = dict(json.loads(value or b""))
        return found

    def undelivered(self) -> str:
        epoch = epoch_file(self._settings.database_url)
        waiting = Marker(epoch, UNDELIVERED).others()
        return f"invalidations of {waiting} processes" if waiting else "none"

    async def survey(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        ask = self._redis.line.ask
        pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", name_of(prefix)) + b"*"
        cursor: bytes | None = b"0"
        while cursor is not None:
            # SCAN, a page at a time, does not hold the server up as KEYS would.
            page = ("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            ((after, names),) = await ask(page)
            sizes = await ask(*(("MEMORY", "USAGE", name) for name in names))
            for name, size in zip(names, sizes, strict=True):
                yield key_of(name), size or 0
            cursor = after if int(after) else None
