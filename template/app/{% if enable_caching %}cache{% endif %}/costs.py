"""What a hit costs beside the handler that it spares, in processor time.

Not in waiting, which a cache takes from the caller whatever it costs the service. It is
the time of the whole process, because handlers and databases may work in threads.
"""

import time
from dataclasses import dataclass
from statistics import median

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from app.cache.caller import client_of

# A round is one hit and one run of the handler, so that whatever else the machine does
# disturbs both. There are fewer where the handler is slow.
MOST_ROUNDS, LEAST_ROUNDS = 100, 3
SECONDS = 1.0
# RFC 9111 5.2.1.5: no-store goes past the cache, through the whole route.
_ROUND = {"HIT": {}, "BYPASS": {"Cache-Control": "no-store"}}


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of processor time for one request, medians over so many rounds."""

    handler: float
    hit: float
    rounds: int

    @property
    def ratio(self) -> float:
        """The hit as a multiple of the handler; above 1 the cache is the dearer one."""
        return self.hit / self.handler


class NotMeasured(Exception):
    """The cache does something else with a request than what was to be measured."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(outcome(response))
        self.response = response


async def cost_of(app: ASGIApp, url: str) -> Cost:
    """Ask for a URL again and again, from the cache and past it in turns.

    Raises NotMeasured when that does not make a hit and a run of the handler.
    """
    watch = _Stopwatch(app)
    took: dict[str, list[float]] = {wanted: [] for wanted in _ROUND}
    async with client_of(watch) as client:
        await client.get(url)  # now the answer is stored
        end = time.monotonic() + SECONDS
        for done in range(MOST_ROUNDS):
            if done >= LEAST_ROUNDS and time.monotonic() > end:
                break
            for wanted, headers in _ROUND.items():
                response = await client.get(url, headers=headers)
                if outcome(response) == wanted:
                    took[wanted].append(watch.seconds)
                elif not took[wanted]:  # later it may have expired, or was invalidated
                    raise NotMeasured(response)
    return Cost(
        handler=median(took["BYPASS"]),
        hit=median(took["HIT"]),
        rounds=min(map(len, took.values())),
    )


def outcome(response: httpx.Response) -> str:
    """Return what the cache did: HIT, MISS or BYPASS; FALLBACK when it does not work.

    It is empty where the cache was not asked, or the answer is no 200.
    """
    status = response.headers.get("cache-status", "")
    if response.status_code != httpx.codes.OK:
        return ""
    if "detail=fallback" in status:
        return "FALLBACK"
    found: str = response.headers.get("x-fastapi-cache", "")
    return "BYPASS" if "fwd=bypass" in status else found


class _Stopwatch:
    """Takes the time of each answer in the app alone, without the client's work."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.seconds = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.process_time()
        await self._app(scope, receive, send)
        self.seconds = time.process_time() - start
