"""A TCP proxy that stands between a worker and its Redis, and can be told to fail."""

import asyncio
import random
from contextlib import suppress
from pathlib import Path

_CHUNK = 65536  # bytes


class Proxy:
    """Passes bytes on until it is told to do something else with them.

    All kinds of failure can be combined; `heal` ends all of them.
    """

    def __init__(self, target: Path) -> None:
        self.port = 0
        self._target = target
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._delay = 0.0
        self._rate = 0
        self._corrupt = 0.0
        self._random = random.Random(1)  # noqa: S311 - the same in every run

    async def start(self) -> None:
        """Listen, at the port of the first start."""
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, limit=_CHUNK
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Reset all connections, and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._connections):
            writer.transport.abort()
        await asyncio.sleep(0)

    def freeze(self) -> None:
        """Swallow everything: a black hole that still takes connections."""
        self._flowing.clear()

    def delay(self, seconds: float) -> None:
        """Let each packet wait before it goes on."""
        self._delay = seconds

    def throttle(self, rate: int) -> None:
        """Pass on no more than `rate` bytes a second, on each connection."""
        self._rate = rate

    def corrupt(self, share: float) -> None:
        """Damage this share of the packets with replies."""
        self._corrupt = share

    async def heal(self) -> None:
        """Work again. What was swallowed arrives late, as after a lost route."""
        self._delay, self._rate, self._corrupt = 0.0, 0, 0.0
        self._flowing.set()
        if self._server is None:
            await self.start()

    async def stop(self) -> None:
        await self.cut()
        self._flowing.set()

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await self._flowing.wait()
        try:
            there = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        self._connections |= {writer, there[1]}
        try:
            await asyncio.gather(
                self._pump(reader, there[1], replies=False),
                self._pump(there[0], writer, replies=True),
            )
        finally:
            self._connections -= {writer, there[1]}

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        replies: bool,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if replies and self._random.random() < self._corrupt:
                    data = self._damaged(data)
                if self._delay:
                    await asyncio.sleep(self._delay)
                if self._rate:
                    await asyncio.sleep(len(data) / self._rate)
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    def _damaged(self, data: bytes) -> bytes:
        """One byte changed, or some lost, or some too many."""
        at = self._random.randrange(len(data))
        kind = self._random.randrange(4)
        if kind == 0:
            return data[:at]
        if kind == 1:
            return data[:at] + data[at + 1 :]
        if kind == 2:
            return data[:at] + b"$-1\r\n" + data[at:]
        return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
