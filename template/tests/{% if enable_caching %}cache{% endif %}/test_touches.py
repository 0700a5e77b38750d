"""The rules of `app/models/cache_rules.py`: each names something that is cached.

A rule of yours that is about your own namespaces is looked at by the start alone.
"""

import runpy
from string import Formatter
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app import cache
from app.cache import invalidate_namespace
from app.models import User, cache_rules
from tests.cache.conftest import ROUTES, Ask, cached_routes, outcome
from tests.people import Person

# The namespaces that the template's routes have, without what follows a colon.
NAMESPACES = {namespace.partition(":")[0] for namespace, _ in ROUTES.values()}


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> list[tuple[type[Any], str]]:
    """Return each model and a namespace that a change of one of its rows touches."""
    found: list[tuple[type[Any], str]] = []

    def touches(model: type[Any], *namespaces: str, **_: Any) -> None:
        found.extend((model, namespace) for namespace in namespaces)

    monkeypatch.setattr(cache, "touches", touches)
    runpy.run_path(cache_rules.__file__)
    return found


def _filled(model: type[Any], template: str, values: dict[str, Any]) -> str:
    """Return a rule's namespace up to the first segment with an unknown column."""
    known = values | ({"id": values["user_id"]} if model is User else {})
    segments = []
    for segment in template.split(":"):
        columns = {name for _, name, _, _ in Formatter().parse(segment) if name}
        if not columns <= known.keys():
            break
        segments.append(segment.format_map(known))
    return ":".join(segments)


async def test_each_rule_reaches_a_cached_route(
    app: FastAPI,
    rules: list[tuple[type[Any], str]],
    stored: dict[str, httpx.Response],
    ask: Ask,
    values: dict[str, Any],
    admin: Person,
) -> None:
    assert {namespace.partition(":")[0] for _, namespace in rules} >= NAMESPACES
    of_yours = {
        policy.namespace.partition(":")[0]
        for path, policy in cached_routes(app).items()
        if path not in ROUTES
    }
    for model, template in rules:
        namespace = _filled(model, template, values)
        first = namespace.partition(":")[0]
        if first not in NAMESPACES:
            continue
        await invalidate_namespace(namespace)
        answers = [await ask(url, admin.headers) for url in stored]
        rule = f"touches({model.__name__}, {template!r})"
        reached = "MISS" in map(outcome, answers)
        assert reached or first in of_yours, f"{rule} reaches no cached route"
        for url in stored:
            assert outcome(await ask(url, admin.headers)) == "HIT", url


async def test_a_route_without_a_time_to_live_of_its_own_is_reached_by_a_rule(
    app: FastAPI,
    rules: list[tuple[type[Any], str]],
    stored: dict[str, httpx.Response],
    ask: Ask,
    values: dict[str, Any],
    admin: Person,
) -> None:
    for rule in rules:
        await invalidate_namespace(_filled(*rule, values))
    routes = cached_routes(app)
    for url in stored:
        if routes[url.partition("?")[0]].expire is None:
            answer = await ask(url, admin.headers)
            assert outcome(answer) == "MISS", f"no change drops what {url} stores"
