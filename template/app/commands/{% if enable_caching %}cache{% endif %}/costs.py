"""What a hit costs beside the handler that it spares, in processor time.

Not in waiting, which a cache takes from the caller whatever it costs the service.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from app.commands.cache.client import Answer, Client

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

    def __init__(self, answer: Answer) -> None:
        super().__init__(outcome(answer))
        self.answer = answer


async def cost_of(client: Client, url: str) -> Cost:
    """Ask for a URL again and again, from the cache and past it in turns.

    Raises NotMeasured when that does not make a hit and a run of the handler.
    """
    took: dict[str, list[float]] = {wanted: [] for wanted in _ROUND}
    first = await client.get(url)  # now the answer is stored
    if outcome(first) not in ("HIT", "MISS"):
        raise NotMeasured(first)
    for _ in rounds():
        for wanted, headers in _ROUND.items():
            answer = await client.get(url, headers)
            if outcome(answer) == wanted:
                took[wanted].append(answer.seconds)
            elif not took[wanted]:  # later it may have expired, or was invalidated
                raise NotMeasured(answer)
    return Cost(
        handler=median(took["BYPASS"]),
        hit=median(took["HIT"]),
        rounds=min(map(len, took.values())),
    )


def rounds() -> Iterator[int]:
    """Count the rounds of one measurement."""
    end = time.monotonic() + SECONDS
    for done in range(MOST_ROUNDS):
        if done >= LEAST_ROUNDS and time.monotonic() > end:
            break
        yield done


def outcome(answer: Answer) -> str:
    """Return what the cache did: HIT, MISS or BYPASS; FALLBACK when it does not work.

    It is empty where the cache was not asked, or the answer is no 200.
    """
    status = answer.headers.get("cache-status", "")
    if answer.status != 200:
        return ""
    if "detail=fallback" in status:
        return "FALLBACK"
    found = answer.headers.get("x-fastapi-cache", "")
    return "BYPASS" if "fwd=bypass" in status else found
