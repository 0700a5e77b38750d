"""Whether the data in Redis is that of the server which answers now.

A server that was restored from disk, emptied, or made the primary in another one's
place may lack invalidations that the one before it has confirmed. The data itself
therefore says which run of which server wrote it last. Where that is not the one that
answers, everything in it is invalidated before anything is read.
"""

import logging
import re

from redis.asyncio.connection import AbstractConnection

from app.cache.engine.redis.line import Command, exchange

log = logging.getLogger("app.cache")

_RUN = re.compile(rb"^(?:run_id|master_replid):(\w+)", re.MULTILINE)


async def recognise(
    connection: AbstractConnection, key: bytes, expire: int, renewal: Command
) -> None:
    """Carry out `renewal`, the command that invalidates all, if the server changed.

    `key` is where the server's run is stored, for `expire` seconds.
    """
    *about, stored = await exchange(
        connection, [("INFO", "server"), ("INFO", "replication"), ("GET", key)]
    )
    refused = next((reply for reply in about if isinstance(reply, Exception)), None)
    if refused is not None:
        _warn_once(refused)
    run = b" ".join(b" ".join(_RUN.findall(r)) for r in about if isinstance(r, bytes))
    if not refused and run.strip() and stored == run:
        return
    commands: tuple[Command, ...] = (renewal, ("SET", key, run, "EX", expire))
    for command in commands:
        (reply,) = await exchange(connection, [command])
        if isinstance(reply, Exception):
            raise reply


_warned = False


def _warn_once(error: Exception) -> None:
    global _warned
    if not _warned:
        _warned = True
        log.warning(
            "Redis does not say which server it is (%s), so every new connection "
            "drops everything that is cached. Let the ACL user run INFO.",
            error,
        )
