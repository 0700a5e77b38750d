"""A relay before Redis that lets what machines send and get be late.

    python relay.py ADDRESS PORT TARGET FILE

listens at ADDRESS:PORT for 127.0.0.1:TARGET. FILE has a line `ADDRESS SECONDS` for
each machine that is far away: each packet of it waits so long, in each direction.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

CHUNK = 65536  # bytes


async def pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    lateness: Callable[[], float],
) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            await asyncio.sleep(lateness())
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


async def main(address: str, port: int, target: int, file: Path) -> None:
    async def accept(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        machine = writer.get_extra_info("peername")[0]

        def lateness() -> float:
            lines = (line.split() for line in file.read_text().splitlines())
            return sum(float(seconds) for name, seconds in lines if name == machine)

        there = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(
            pump(reader, there[1], lateness), pump(there[0], writer, lateness)
        )

    async with await asyncio.start_server(accept, address, port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(
            main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
        )
