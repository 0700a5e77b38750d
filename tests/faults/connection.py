"""An HTTP/1.1 connection that is kept open, and costs little.

The load shares its processors with the service that it measures, and httpx takes as
long to ask as the service takes to answer; this takes a tenth of that.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; the names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """Sends one request after the other to a local port; opened when it is needed."""

    def __init__(self, port: int, patience: float) -> None:
        self._port = port
        self._patience = patience
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(
        self, method: str, path: str, headers: dict[str, str], content: Any = None
    ) -> Answer:
        """Return the answer; OSError when there is none, or none in time."""
        body = b"" if content is None else json.dumps(content).encode()
        lines = [f"{method} {path} HTTP/1.1", f"host: 127.0.0.1:{self._port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if content is not None:
            lines += ["content-type: application/json", f"content-length: {len(body)}"]
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        try:
            async with asyncio.timeout(self._patience):
                return await self._exchange(head + body)
        except asyncio.IncompleteReadError as error:
            self.close()
            raise ConnectionResetError("the answer is not complete") from error
        except BaseException:
            self.close()  # what is still to come would answer the next request
            raise

    async def _exchange(self, request: bytes) -> Answer:
        if self._streams is None or self._ended(*self._streams):
            self.close()
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers["content-length"]))
        return Answer(int(first.split(" ")[1]), headers, body)

    @staticmethod
    def _ended(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        return reader.at_eof() or writer.is_closing()

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None
