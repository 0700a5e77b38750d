"""A way to a server that can be cut, or lead to another server from then on."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest_asyncio

from tests.servers import free_port


class Forwarder:
    """A TCP port of its own, from which bytes go to the port `target` and back."""

    def __init__(self) -> None:
        self.target = 0
        self.stuck = asyncio.Event()
        self.damage: Callable[[bytes], bytes] = bytes  # of what the server replies
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._tls: ssl.SSLContext | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    def speak_tls(self, certificate: Path) -> None:
        """Want TLS, in front of a server that has none."""
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate)

    async def lead_to(self, port: int) -> None:
        """Let new connections get to another server."""
        self.target = port
        if self._server is None:
            self._server = await asyncio.start_server(
                self._connect, "127.0.0.1", self.port, ssl=self._tls
            )

    def stick(self) -> None:
        """Stop within the next reply, and set `stuck` then."""
        self.stuck.clear()
        self._flowing.clear()

    def go_on(self) -> None:
        """Pass on the rest of it, and all that follows."""
        self._flowing.set()

    async def cut(self) -> None:
        """End all connections and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, there[1]}
        await asyncio.gather(
            self._copy(reader, there[1], replies=False),
            self._copy(there[0], writer, replies=True),
        )
        self._writers -= {writer, there[1]}

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        replies: bool,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if replies:
                    data = self.damage(data)
                if replies and not self._flowing.is_set():
                    half = len(data) // 2
                    writer.write(data[:half])
                    data = data[half:]
                    self.stuck.set()
                    await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@pytest_asyncio.fixture
async def forwarder() -> AsyncIterator[Forwarder]:
    forwarder = Forwarder()
    yield forwarder
    await forwarder.cut()
