"""The tests that a service does not carry: in each variant those that concern it."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from engine_runs import COMMAND, FOLDERS, IN_PARALLEL, add_tests, install
from harness import VARIANTS, Project, Template, as_answers, row_id

# The largest goes first, so that no process ends up alone with it.
COSTLY = ["redis", "memory", "none"]
BY_COST = sorted(
    VARIANTS,
    key=lambda row: (row["database"] == "postgresql", COSTLY.index(row["cache"])),
)

# What neither asks the database for more than whether it is there, nor how it is that
# the variant has a memory cache: a service with Redis has both stores.
SAME_IN_EACH_VARIANT = [
    "engine/redis/test_cluster.py",
    "engine/redis/test_disturbed.py",
    "engine/redis/test_failover.py",
    "engine/redis/test_fence_in_redis.py",
    "engine/redis/test_killed_worker.py",
    "engine/redis/test_known.py",
    "engine/redis/test_lost_data.py",
    "engine/redis/test_nodes.py",
    "engine/redis/test_redis.py",
    "engine/redis/test_refusing_redis.py",
    "engine/redis/test_spans.py",
    "engine/redis/test_types.py",
    "engine/test_as_without.py",
    "engine/test_bounded.py",
    "engine/test_counts.py",
    "engine/test_forms.py",
    "engine/test_face.py",
    "engine/test_fence.py",
    "engine/test_head.py",
    "engine/test_http.py",
    "engine/test_identical.py",
    "engine/test_lifetime.py",
    "engine/test_metrics.py",
    "engine/test_metrics_folder.py",
    "engine/test_names.py",
    "engine/test_namespaces.py",
    "engine/test_nothing_skipped.py",
    "engine/test_places.py",
    "engine/test_private.py",
    "engine/test_providers.py",
    "engine/test_safe.py",
    "engine/test_seam.py",
    "engine/test_shared.py",
    "engine/test_single_flight.py",
    "engine/test_specified.py",
    "engine/test_sql.py",
    "engine/test_told_apart.py",
    "engine/test_values.py",
    "engine/test_waiting.py",
    "service/cache/test_encoded.py",
    "service/cache/test_watched.py",
    "service/commands/test_commands.py",
    "service/commands/test_ending.py",
    "service/commands/test_env.py",
    "service/commands/test_routes.py",
    "service/commands/test_serve.py",
    "service/commands/test_tasks.py",
    "service/config",
    "service/limits/test_flood.py",
    "service/logs",
    "service/metrics",
    "service/middleware",
    "service/pages",
    "service/test_connections.py",
    "service/test_docs.py",
    "service/test_fuzz.py",
    "service/test_own_access.py",
    "service/test_start.py",
]
# What is about processes, people or the cache, whatever database they have.
SAME_ON_ANY_DATABASE = [
    "engine/memory/test_processes.py",
    "engine/memory/test_workers.py",
    "service/cache",
    "service/commands/test_keys.py",
    "service/commands/test_user.py",
    "service/limits/test_lock.py",
    "service/memory",
    "service/redis",
]
# What is tested on the memory, too, where the service has Redis.
SAME_IN_MEMORY = [
    "engine/test_catalog.py",
    "engine/test_dependencies.py",
    "engine/test_named.py",
    "engine/test_principal.py",
    "engine/test_reported.py",
    "engine/test_rules.py",
    "engine/test_writes.py",
]
# What asks the cache for nothing.
SAME_WITH_ANY_CACHE = [
    "service/commands/test_db.py",
    "service/commands/test_keys.py",
    "service/commands/test_user.py",
    "service/database",
    "service/postgresql",
    "service/sqlite",
    "service/test_commit.py",
]
WITHOUT_A_CACHE = ["tests/service/commands/test_measure.py"]


@pytest.fixture(scope="module", params=BY_COST, ids=row_id)
def service(request: pytest.FixtureRequest, template: Template) -> Project:
    project = template.copy(**as_answers(request.param))
    install(project)
    add_tests(project)
    return project


@pytest.fixture
def files() -> Iterator[list[str]]:
    """Say where the tests' files are: databases wait for disks that others use."""
    memory = Path("/dev/shm")  # noqa: S108 - on Linux; what is made there has its own name
    if not memory.is_dir():
        yield []
        return
    with TemporaryDirectory(dir=memory) as folder:
        yield [f"--basetemp={folder}/pytest"]


def in_ci(service: Project) -> list[str]:
    """All of them with Redis and SQLite; elsewhere those that may differ there."""
    answers, same = service.answers, list[str]()
    if not answers["enable_caching"]:
        return WITHOUT_A_CACHE
    if answers["database"] == "postgresql":
        same += SAME_IN_EACH_VARIANT + SAME_ON_ANY_DATABASE
    if answers["cache_backend"] == "memory":
        same += SAME_IN_EACH_VARIANT + SAME_IN_MEMORY + SAME_WITH_ANY_CACHE
    return [*added(service), *(f"--ignore=tests/{name}" for name in same)]


def added(service: Project) -> list[str]:
    folders = [f"tests/{folder}" for folder in FOLDERS]
    return [folder for folder in folders if (service.path / folder).exists()]


@pytest.mark.in_ci("sqlite", "postgresql-memory", "postgresql-redis")
def test_promises_are_kept(service: Project, files: list[str]) -> None:
    service.run(*COMMAND, *IN_PARALLEL, *files, *in_ci(service))


@pytest.mark.in_ci("sqlite-redis", "postgresql-memory")  # each test is in one of them
def test_types_of_these_tests_are_strict(service: Project, mypy_cache: Path) -> None:
    service.run("mypy", "--cache-dir", mypy_cache)


@pytest.mark.nightly
def test_promises_are_kept_at_their_full_numbers(
    service: Project, files: list[str]
) -> None:
    """2,000 interleavings, a million keys, 200 rounds of two workers."""
    command = *COMMAND, *IN_PARALLEL, *files, *added(service)
    service.run(*command, HYPOTHESIS_PROFILE="thorough")
