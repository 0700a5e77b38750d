"""`copier update` gives what a fresh render gives, keeps the owner's work and `.env`.

From the oldest supported release to the working tree, and for each switch of answers.
"""

import subprocess
import sys
from collections import ChainMap
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pytest
from pytest_copie.plugin import Copie

import owner
from harness import VARIANTS, Answers, Project, Template, as_answers, clean_environment
from release import Release, kept_releases
from updating import Owner, make_history

Row = dict[str, Any]

OLDEST = kept_releases()[0]
DESCRIPTION = {"project_description": "Sells books."}  # which the owner looks for

# What of the service's own tests runs after an update in CI; nightly it is all of them.
QUICK = [
    "tests/resources/test_note.py",  # the owner's
    "tests/resources/test_health.py",
    "tests/test_access.py",
    "tests/test_openapi.py",
    "tests/test_main.py",
    "tests/test_commands.py::test_migrations_go_all_the_way_up_down_and_up",
]


def name_of(row: Row) -> str:
    return f"{row['database']}-{row['cache']}"


def ids(rows: Any) -> str:
    return " ".join(map(name_of, rows)) if isinstance(rows, tuple) else name_of(rows)


def answers_of(row: Row, **more: Any) -> Answers:
    variant = {"database": row["database"], "cache": row["cache"]}
    return as_answers(variant) | DESCRIPTION | more


# Nightly each pair is tried, as rendered and, which is harder, with the owner's work.
# CI tries those in which each cache and each database comes or goes.
PAIRS = list(combinations(VARIANTS, 2))
IN_CI = {
    "as rendered": {
        *("postgresql-memory sqlite-none", "postgresql-none sqlite-redis"),
        "postgresql-redis sqlite-memory",
    },
    "with work": {
        *("sqlite-memory sqlite-none", "sqlite-memory sqlite-redis"),
        *("postgresql-memory postgresql-redis", "postgresql-none postgresql-redis"),
        *("postgresql-memory sqlite-memory", "postgresql-redis sqlite-redis"),
    },
}


def pairs(how: str) -> list[Any]:
    assert IN_CI[how] <= set(map(ids, PAIRS)), "no such pair"
    return [
        pytest.param(
            pair,
            marks=[] if ids(pair) in IN_CI[how] else [pytest.mark.nightly],
            id=ids(pair),
        )
        for pair in PAIRS
    ]


@pytest.fixture(scope="session")
def history(
    snapshot: Path, tmp_path_factory: pytest.TempPathFactory, copie_session: Copie
) -> Template:
    """All kept releases and the working tree, as commits with their tags."""
    target = tmp_path_factory.mktemp("history") / "template"
    return Template(make_history(kept_releases(), snapshot, target), copie_session)


@pytest.fixture(scope="session")
def idle(history: Template) -> Owner:
    """An owner who leaves everything as it is."""
    return Owner(history)


@pytest.fixture(scope="session")
def busy(history: Template) -> Owner:
    """An owner who works also where the template adds when answers are switched."""
    return Owner(history, [owner.work, owner.work_in_tight_places])


@pytest.fixture(scope="session")
def busy_since_the_oldest(history: Template) -> Owner:
    return Owner(history, [owner.work])


# Another answer at one version: there, and back again


@pytest.mark.parametrize("pair", pairs("as rendered"))
def test_switch_gives_what_a_fresh_render_gives(
    idle: Owner, pair: tuple[Row, Row]
) -> None:
    there_and_back(idle, *map(answers_of, pair))


@pytest.mark.parametrize("pair", pairs("with work"))
def test_switch_keeps_the_owner_s_work(busy: Owner, pair: tuple[Row, Row]) -> None:
    there_and_back(busy, *map(answers_of, pair))


PARTS: dict[str, tuple[Answers, Answers]] = {
    "rate_limit": ({"rate_limit": False}, {"rate_limit": True}),
    "docker": ({"docker": False}, {"docker": True}),
    "github_ci": (
        {"github_ci": False, "dependency_updates": "renovate"},
        {"github_ci": True, "dependency_updates": "dependabot"},
    ),
}


@pytest.mark.nightly  # in CI, all at once
@pytest.mark.parametrize("part", PARTS)
def test_switch_of_an_optional_part_keeps_the_owner_s_work(
    busy: Owner, part: str
) -> None:
    there_and_back(busy, *(answers_of(VARIANTS[-1], **side) for side in PARTS[part]))


def test_switch_of_all_optional_parts_keeps_the_owner_s_work(busy: Owner) -> None:
    sides = zip(*PARTS.values(), strict=True)
    one, other = [dict(ChainMap(*side)) for side in sides]
    there_and_back(
        busy, answers_of(VARIANTS[-1], **one), answers_of(VARIANTS[-1], **other)
    )


def there_and_back(owner: Owner, one: Answers, other: Answers) -> None:
    project = owner.start(one)
    project = owner.update(project, other, ":current:")
    owner.update(project, one, ":current:")


def test_switch_by_the_command_line_needs_no_trust(idle: Owner) -> None:
    memory = answers_of({"database": "sqlite", "cache": "memory"})
    redis = answers_of({"database": "sqlite", "cache": "redis"})
    project = idle.start(memory)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "copier", "update", "--defaults"),
            *("--vcs-ref=:current:", "-d", "cache_backend=redis"),
        ],
        cwd=project.path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    project.assert_no_conflicts()
    assert project.files().keys() == idle.expected(redis).keys()


# From the oldest supported release to the newest version


@pytest.mark.parametrize("row", VARIANTS, ids=ids)
def test_update_gives_what_a_fresh_render_gives(idle: Owner, row: Row) -> None:
    project = idle.start(answers_of(row), OLDEST.tag)
    idle.update(project, answers_of(row))


@pytest.mark.nightly  # in CI, half of the variants do it below, from the oldest one
@pytest.mark.parametrize("kept", kept_releases(), ids=lambda kept: kept.version)
@pytest.mark.parametrize("row", VARIANTS, ids=ids)
def test_update_keeps_the_owner_s_work(
    busy_since_the_oldest: Owner, row: Row, kept: Release
) -> None:
    project = busy_since_the_oldest.start(answers_of(row), kept.tag)
    busy_since_the_oldest.update(project, answers_of(row))


# The service after an update and a switch: once on with the largest cache, once off
# and to the other database.

QUICK_JOURNEYS = [
    ({"database": "sqlite", "cache": "none"}, {"database": "sqlite", "cache": "redis"}),
    (
        {"database": "sqlite", "cache": "memory"},
        {"database": "postgresql", "cache": "none"},
    ),
]
ALL_JOURNEYS = [
    (one, other)
    for one, other in permutations(VARIANTS, 2)
    if one["database"] == other["database"]
]


@pytest.mark.parametrize("journey", QUICK_JOURNEYS, ids=ids)
def test_service_works_after_an_update_and_a_switch(
    busy_since_the_oldest: Owner, journey: tuple[Row, Row]
) -> None:
    service = travel(busy_since_the_oldest, *journey)
    service.run("pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *QUICK)


@pytest.mark.nightly
@pytest.mark.parametrize("journey", ALL_JOURNEYS, ids=ids)
def test_all_tests_of_the_service_pass_after_an_update_and_a_switch(
    busy_since_the_oldest: Owner, journey: tuple[Row, Row]
) -> None:
    service = travel(busy_since_the_oldest, *journey)
    service.run("mypy")
    service.run("pytest", "-q", "-n", "0", "-p", "no:cacheprovider")


def travel(owner: Owner, start: Row, goal: Row) -> Project:
    """Update from the oldest release, then switch; return what is installed then."""
    service = owner.start(answers_of(start), OLDEST.tag)
    service = owner.update(service, answers_of(start))
    service = owner.update(service, answers_of(goal), ":current:")
    service.sync()
    service.run("ruff", "check")
    return service
