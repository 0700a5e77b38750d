"""The connection to the server that has the keys of this service.

All of them have one hash tag, `{prefix}` (see `name_of` in `server.py`), so a cluster
has them in one slot, on one node. `Link` goes where the cluster says that it is, and
tries the nodes in turn when the one that it knows does not answer. Sentinels are asked
at each connect.

Source: the Redis cluster specification, "Redirection and resharding".
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

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
    MovedError,
)
from redis.maint_notifications import MaintNotificationsConfig

Command = tuple[bytes | str | int, ...]
Address = tuple[str, int]

_SENTINEL = "+sentinel"
_SENTINEL_PORT = 26379


class Link:
    """One connection, to whichever server has the keys; `patience` is in seconds.

    `greet` makes a new connection ready.
    """

    def __init__(
        self, url: str, patience: float, greet: Callable[[AbstractConnection], Any]
    ) -> None:
        self.patience = patience
        self._pool, self._sentinels = _pool(
            url,
            patience,
            socket_timeout=None,  # each batch has one deadline, not each reply
            socket_connect_timeout=patience,
            redis_connect_func=greet,
        )
        self.connection: Any = self._pool.make_connection()
        self._given = self.address
        self._places: list[Address] = []  # to try in turn, in a cluster

    @property
    def address(self) -> Address:
        """Where the server is; a socket in the file system has no address."""
        return getattr(self.connection, "host", ""), getattr(self.connection, "port", 0)

    def learn(self, slots: Any) -> None:
        """Note the cluster's nodes, from a reply to CLUSTER SLOTS."""
        found = [node for _, _, *nodes in slots for node in nodes if node[0]]
        nodes = [(host.decode(), port) for host, port, *_ in found]
        if {self._given, *nodes} != {*self._places}:  # else each gets its turn
            self._places = list(dict.fromkeys([self._given, *nodes]))

    async def disconnect(self) -> None:
        await self.connection.disconnect(nowait=True)

    async def close(self) -> None:
        await self.disconnect()
        for sentinel in self._sentinels:
            await sentinel.aclose()

    async def connect(self) -> None:
        """Connect to the server; MovedError when another one has the keys."""
        try:
            async with asyncio.timeout(self.patience):
                await self.connection.connect()
        except MovedError:
            raise
        except BaseException:
            self.go_elsewhere()
            raise

    def to(self, where: AskError) -> Any:
        """Return one more connection, to a node that is named, without a greeting."""
        about = dict(self._pool.connection_kwargs)
        about |= {"host": where.host or self.address[0], "port": where.port}
        about["redis_connect_func"] = None
        return self._pool.connection_class(**about)

    def go_to(self, moved: MovedError) -> None:
        """Connect to this node the next time."""
        # No host: the one that says so.
        self._move(moved.host or self.address[0], moved.port)

    def go_elsewhere(self) -> None:
        """Try another node the next time: the one that is given, or the next one."""
        if self._places:
            self._places.append(self._places.pop(0))
            self._move(*self._places[0])

    def _move(self, host: str, port: int) -> None:
        self.connection.host, self.connection.port = host, port


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
