"""The cache on and off, side by side: no answer tells which it was. See `oracle/`."""

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.valkey import valkey_in
from harness import Project, Template

ORACLE = Path(__file__).parent / "oracle"
# The workers and the driver run in the service's environment.
RUN = ("uv", "run", "--quiet", "--with", "hypothesis>=6.160")

SQLITE: list[Any] = [("sqlite", "memory"), ("sqlite", "redis")]
POSTGRESQL: list[Any] = [
    pytest.param(("postgresql", cache), marks=pytest.mark.nightly)
    for cache in ("memory", "redis")
]


def variant_id(variant: Any) -> str:
    return "-".join(variant)


@pytest.fixture(scope="module", params=SQLITE + POSTGRESQL, ids=variant_id)
def service(template: Template, request: pytest.FixtureRequest) -> Project:
    database, cache = request.param
    project = template.copy(database=database, cache_backend=cache)
    project.run("uv", "sync", "--quiet")
    shutil.copytree(ORACLE, project.path / "tests" / "oracle")
    return project


@pytest.fixture
def environment(service: Project) -> Iterator[dict[str, str]]:
    """What turns on the cache that the variant has."""
    if service.answers["cache_backend"] == "memory":
        yield {}
        return
    with valkey_in(service.path) as server:
        asyncio.run(server.start())
        yield {"REDIS_ENABLED": "true", "REDIS_URL": f"unix://{server.socket}"}
        assert asyncio.run(server.ask("DBSIZE")) != b":0\r\n", "it was not used"


def run(service: Project, environment: dict[str, str], *options: str) -> str:
    if service.answers["database"] == "postgresql":
        options = (*options, "--postgresql")
    return service.run(*RUN, "python", "-m", "tests.oracle", *options, **environment)


def test_answers_are_equal(service: Project, environment: dict[str, str]) -> None:
    printed = run(service, environment, "--examples", "60")
    counted = re.search(r"(\d+) +(\d+)  all routes", printed)
    assert counted, printed
    assert int(counted[2]) > 100, "few of its answers were hits"


@pytest.mark.nightly
def test_answers_are_equal_in_thousands_of_scenarios(
    service: Project, environment: dict[str, str]
) -> None:
    run(service, environment, "--examples", "2000", "--seed", "1")


@pytest.mark.nightly
def test_answers_are_equal_with_each_choice_alone(
    service: Project, environment: dict[str, str]
) -> None:
    run(service, environment, "--examples", "15", "--each")


@pytest.mark.in_ci("sqlite-redis")
def test_oracle_is_typed_like_a_service(service: Project) -> None:
    service.run(*RUN, "mypy", "tests/oracle")
