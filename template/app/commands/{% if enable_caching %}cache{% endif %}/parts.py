"""What makes the hits of a route dear: its key builder, or one of its dependencies."""

import inspect
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
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
from app.commands.cache.caller import Cached, route_of
from app.commands.cache.client import Client
from app.commands.cache.costs import rounds

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
