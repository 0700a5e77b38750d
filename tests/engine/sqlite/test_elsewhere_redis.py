"""C9 where a script and the service share the database, but no folder."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import app as service
from tests.engine.redis.shelf import MISS, Shelf
from tests.servers.valkey import Valkey

SCRIPT = """
import asyncio
from app.cache import invalidate_namespace
asyncio.run(invalidate_namespace("books"))
"""


async def test_what_a_script_elsewhere_could_not_deliver_is_made_up_for(
    database_url: str, start_valkey: Callable[..., Valkey], tmp_path: Path
) -> None:
    valkey, shelf = start_valkey(), Shelf()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    project = Path(service.__file__).parent.parent
    async with shelf.in_redis(database_url, valkey):
        assert await shelf.read() == (1, MISS)
        valkey.freeze()
        shelf.books = 2
        await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", SCRIPT],
            cwd=elsewhere,
            env=os.environ | {"PYTHONPATH": str(project)},
            check=True,
        )
        valkey.thaw()
        await shelf.until("ok")
        assert (await shelf.read())[0] == 2
