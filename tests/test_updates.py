"""`copier update` gives what a fresh render gives, keeps the owner's work and `.env`.

From the oldest supported release to the working tree, and for each switch of answers.
"""

import subprocess
import sys
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
    "tests/test_migrations.py",
]


def name_of(row: Row) -> str:
    return f"{row['database']}-{row['cache']}"


def ids(rows: Any) -> str:
    return " ".join(map(name_of, rows)) if isinstance(rows, tuple) else name_of(rows)


def answers_of(row: Row, **more: Any) -> Answers:
    variant = {"database": row["database"], "cache": row["cache"]}
    return as_answers(variant) | DESCRIPTION | more


# In CI each answer is switched with the owner's work, which is the harder case, and two
# at once where each cache comes or goes. Nightly all pairs are tried as rendered.
PAIRS = list(combinations(VARIANTS, 2))
NEAR = [
    pair
    for pair in PAIRS
    if pair[0]["database"] == pair[1]["database"]
    or pair[0]["cache"] == pair[1]["cache"]
]
FAR = [
    (VARIANTS[one], VARIANTS[other]) for one, other in ((0, 4), (1, 5), (2, 3))
]
AS_RENDERED = [
    pytest.param(pair, marks=[] if pair in FAR else [pytest.mark.nightly])
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


@pytest.mark.parametrize("pair", AS_RENDERED, ids=ids)
def test_switch_gives_what_a_fresh_render_gives(
    idle: Owner, pair: tuple[Row, Row]
) -> None:
    there_and_back(idle, *map(answers_of, pair))


@pytest.mark.parametrize("pair", NEAR, ids=ids)
def test_switch_keeps_the_owner_s_work(busy: Owner, pair: tuple[Row, Row]) -> None:
    there_and_back(busy, *map(answers_of, pair))


@pytest.mark.parametrize(
    ("without", "with_it"),
    [
        ({"rate_limit": False}, {"rate_limit": True}),
        ({"docker": False}, {"docker": True}),
        (
            {"github_ci": False, "dependency_updates": "renovate"},
            {"github_ci": True, "dependency_updates": "dependabot"},
        ),
    ],
    ids=["rate_limit", "docker", "github_ci"],
)
def test_switch_of_an_optional_part_keeps_the_owner_s_work(
    busy: Owner, without: Answers, with_it: Answers
) -> None:
    redis = VARIANTS[-1]
    there_and_back(busy, answers_of(redis, **without), answers_of(redis, **with_it))


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


# The service after an update and a switch: each cache is once where it comes from and
# once where it goes to.

QUICK_JOURNEYS = [
    ({"database": "sqlite", "cache": "none"}, {"database": "sqlite", "cache": "redis"}),
    (
        {"database": "postgresql", "cache": "redis"},
        {"database": "postgresql", "cache": "memory"},
    ),
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
