"""The tests of the cache's engine, in each service that has a cache."""

from pathlib import Path

import pytest

from engine_runs import COMMAND, IN_PARALLEL, add_engine_tests, install
from harness import VARIANTS, Project, Template, as_answers, row_id

# The largest goes first, so that no process ends up alone with it.
CACHED = sorted(
    (row for row in VARIANTS if row["cache"] != "none"),
    key=lambda row: (row["database"] == "postgresql", row["cache"] == "memory"),
)

# What neither asks the database for more than whether it is there, nor how it is that
# the variant has a memory cache: a service with Redis has both stores.
SAME_IN_EACH_VARIANT = [
    "redis/test_cluster.py",
    "redis/test_disturbed.py",
    "redis/test_failover.py",
    "redis/test_fence_in_redis.py",
    "redis/test_killed_worker.py",
    "redis/test_known.py",
    "redis/test_lost_data.py",
    "redis/test_nodes.py",
    "redis/test_pages.py",
    "redis/test_redis.py",
    "redis/test_refusing_redis.py",
    "redis/test_spans.py",
    "redis/test_types.py",
    "test_as_without.py",
    "test_bounded.py",
    "test_counts.py",
    "test_equal.py",
    "test_face.py",
    "test_fence.py",
    "test_head.py",
    "test_http.py",
    "test_identical.py",
    "test_lifetime.py",
    "test_metrics.py",
    "test_metrics_folder.py",
    "test_names.py",
    "test_namespaces.py",
    "test_nothing_skipped.py",
    "test_places.py",
    "test_private.py",
    "test_providers.py",
    "test_safe.py",
    "test_seam.py",
    "test_shared.py",
    "test_single_flight.py",
    "test_specified.py",
    "test_sql.py",
    "test_told_apart.py",
    "test_values.py",
    "test_waiting.py",
]
# What is about processes, whatever database they have.
SAME_ON_ANY_DATABASE = ["memory/test_processes.py", "memory/test_workers.py"]


@pytest.fixture(scope="module", params=CACHED, ids=row_id)
def service(request: pytest.FixtureRequest, template: Template) -> Project:
    project = template.copy(**as_answers(request.param))
    install(project)
    add_engine_tests(project)
    return project


def test_engine_keeps_its_promises(service: Project) -> None:
    """All of them with Redis and SQLite; elsewhere those that may differ there."""
    selection = ["tests/engine"]
    if service.answers["database"] == "postgresql":
        selection += map(ignore, SAME_IN_EACH_VARIANT + SAME_ON_ANY_DATABASE)
    elif service.answers["cache_backend"] == "memory":
        selection += map(ignore, SAME_IN_EACH_VARIANT)
    service.run(*COMMAND, *IN_PARALLEL, *selection)


def ignore(name: str) -> str:
    return f"--ignore=tests/engine/{name}"


def test_types_of_the_engine_s_tests_are_strict(
    service: Project, mypy_cache: Path
) -> None:
    service.run("mypy", "--cache-dir", mypy_cache)


@pytest.mark.nightly
def test_engine_keeps_its_promises_at_their_full_numbers(service: Project) -> None:
    """2,000 interleavings, a million keys, 200 rounds of two workers."""
    service.run(
        *(*COMMAND, *IN_PARALLEL, "tests/engine"), HYPOTHESIS_PROFILE="thorough"
    )
