"""What a hit costs beside the handler that it spares, and what makes it dear.

In processor time, not in waiting, which a cache takes from the caller whatever it costs
the service. Dear may be a route's key builder, or one of its dependencies.
"""

import inspect
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import solve_dependencies
from fastapi.security.base import SecurityBase

from app.cache.engine.providers import (
    is_check,
    is_provider,
    nodes_of,
    params_of,
)
from app.commands.cache.caller import Answer, Cached, Client, route_of

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


_SOLVED = "app.commands.cache"  # where a request has what its dependencies returned


class Part(NamedTuple):
    """A part of a hit, how much of it (0 to 1), and what may make it cheaper."""

    name: str
    advice: str
    share: float

    def __str__(self) -> str:
        return f"{self.name} takes {self.share * 100:.0f} % of a hit{self.advice}"


async def dearest_part(app: FastAPI, client: Client, url: str) -> Part | None:
    """Measure the hits of a URL once more, part by part; None when it has none."""
    cached = route_of(app, (await client.get(url)).scope)
    if cached is None:
        return None
    whole = 0.0
    with _timed(app, cached) as took:
        for _ in rounds():
            whole += (await client.get(url)).seconds
    parts = [Part(*about, seconds / whole) for about, seconds in took.items()]
    return max(parts, key=lambda part: part.share, default=None)


@contextmanager
def _timed(app: FastAPI, cached: Cached) -> Iterator[dict[tuple[str, str], float]]:
    """Yield the seconds that each part of the route takes, without the parts below it.

    The parts are told by name and advice.
    """
    took: dict[tuple[str, str], float] = defaultdict(float)
    policy, builder = cached.policy, cached.policy.key_builder
    about = f"key builder {policy.key_builder_name}", ""

    async def timed_builder(*args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        key = builder(*args, **kwargs)
        if inspect.isawaitable(key):
            key = await key
        took[about] += time.process_time() - start
        return key

    nodes = {id(node): node for node in nodes_of(cached.route.dependant)}.values()
    before = [(node, node.dependencies) for node in nodes]
    policy.key_builder = timed_builder
    for node, below in before:
        node.dependencies = [_timed_node(app, each, node, took) for each in below]
    try:
        yield took
    finally:
        policy.key_builder = builder
        for node, below in before:
            node.dependencies = below


def _timed_node(
    app: FastAPI,
    node: Dependant,
    above: Dependant,
    took: dict[tuple[str, str], float],
) -> Dependant:
    """Return a dependency that does what the given one does, by the clock."""
    only = Dependant(dependencies=[node], path=node.path)

    async def timed(request: Request) -> Any:
        start = time.process_time()
        solved = await solve_dependencies(
            request=request,
            dependant=only,
            dependency_overrides_provider=app,
            dependency_cache=request.scope.setdefault(_SOLVED, {}),
            async_exit_stack=request.scope["fastapi_inner_astack"],
            embed_body_fields=False,
        )
        seconds = time.process_time() - start
        took[_about(node)] += seconds
        took[_about(above)] -= seconds
        return solved.values.get(node.name or "")

    return Dependant(
        call=timed,
        name=node.name,
        path=node.path,
        request_param_name="request",
    )


def _about(node: Dependant) -> tuple[str, str]:
    call: Any = node.call
    name = getattr(call, "__name__", type(call).__name__)
    stays = (
        is_provider(call)
        or is_check(call)
        or isinstance(call, SecurityBase)
        or bool(params_of(node))
    )
    advice = ": mark it with @provider if it decides nothing"
    return f"dependency {name}", "" if stays else advice
