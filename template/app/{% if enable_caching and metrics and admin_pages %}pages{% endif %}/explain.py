"""What `api-admin cache explain` says of an address.

It has the service's handlers left out, in the whole process. So it runs in one of its
own, and the requests that are answered here meanwhile run theirs.
"""

import asyncio
import json
import os
import sys
from typing import Any

from app.cache.engine.cache import Cache
from app.cache.stored import looked_up
from app.errors import BadRequest, Unavailable

PATIENCE = 60  # seconds; it starts the service once more
COMMAND = (sys.executable, "-c", "from app.commands import main; main()")

_one_at_a_time = asyncio.Lock()  # it takes a processor for a second or two


async def explained(cache: Cache, url: str, who: str) -> dict[str, Any]:
    """Return what there is to say of a GET of `url` by a user, by id or e-mail address.

    Where that process cannot know what is stored, because it is in the memory of this
    one, it says where to look.

    Raises `BadRequest` or `Unavailable` with why nothing can be said.
    """
    if not url.startswith("/"):
        raise BadRequest("An address begins with a slash, as in /users/?page=2.")
    arguments = ["cache", "explain", url, f"--user={who}", "--json"]
    environment = os.environ | {"METRICS_TOKEN": "", "NO_COLOR": "1"}
    if _one_at_a_time.locked():
        raise Unavailable("Another address is being explained: try again soon.")
    async with _one_at_a_time:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                output, errors = await process.communicate()
        except TimeoutError:
            raise Unavailable("Explaining this takes too long now.") from None
        finally:
            if process.returncode is None:
                process.kill()
    if process.returncode:
        last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise BadRequest(last.removeprefix("Error: "))
    shown: dict[str, Any] = json.loads(output)
    if "place" in shown:
        place, inherited = shown.pop("place"), shown.pop("inherited")
        shown |= await looked_up(cache, shown["key"], place, inherited)
    return shown
