"""No failure of Redis fails a request or makes an answer stale; in short."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from faults.faults import FAULTS
from faults.run import ROUNDS, SHORT, Outcome, as_table, run_all
from faults.service import WORKERS, our_service, stock_service
from harness import Project, Template

# In a worker; two requests come within CACHE_TIMEOUT, and 30 while the fault lasts.
HANDFUL = 8


@pytest.fixture(scope="module")
def project(template: Template) -> Project:
    """A service with its environment, in which the server is, too."""
    project = template.copy(cache_backend="redis", database="sqlite")
    project.sync()
    return project


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults") / "ours.log"


@pytest.fixture(scope="module")
def outcomes(project: Project, log: Path) -> dict[str, Outcome]:
    """What each fault did; they happen one after the other to one service."""
    opener = partial(our_service, project, log.parent)
    done = asyncio.run(run_all(project.path, opener, SHORT, [*FAULTS, ROUNDS]))
    print(as_table(done))
    return {each.fault: each for each in done}


@pytest.mark.parametrize("name", [*FAULTS, ROUNDS])
def test_no_request_fails_and_no_answer_is_stale(
    outcomes: dict[str, Outcome], name: str
) -> None:
    outcome = outcomes[name]
    assert outcome.during.requests
    assert not outcome.errors, (outcome.during.errors, outcome.after.errors)
    assert not outcome.stale, outcome.during.examples + outcome.after.examples
    assert outcome.recovery is not None, "no hits from Redis any more"


@pytest.mark.parametrize("name", ["SIGSTOP, then SIGCONT", "black hole"])
def test_some_wait_for_a_redis_that_says_nothing(
    outcomes: dict[str, Outcome], name: str
) -> None:
    """Else nobody counts them."""
    assert outcomes[name].during.waited.total()


@pytest.mark.parametrize(
    "name",
    [
        "SIGKILL, then an empty server",
        "SIGSTOP, then SIGCONT",
        "connections cut, new ones refused",
        "black hole",
    ],
)
def test_a_handful_of_requests_wait_for_a_redis_that_does_not_answer(
    outcomes: dict[str, Outcome], name: str
) -> None:
    """Those that come until the first one meets the deadline, and nobody after them.

    A machine that does something else meanwhile is late for that, as its slowest answer
    was.
    """
    during = outcomes[name].during
    late = SHORT.rate / len(WORKERS) * during.slowest
    for worker, waited in during.waited.items():
        assert waited <= HANDFUL + late, (worker, during.slowest)


def test_log_tells_of_outages_without_a_traceback(
    outcomes: dict[str, Outcome], log: Path
) -> None:
    text = log.read_text()
    assert "Lost Redis at redis://127.0.0.1" in text
    assert "works again" in text
    assert "Traceback" not in text


def test_same_load_finds_what_the_stock_cache_does(
    project: Project, tmp_path: Path
) -> None:
    program = [str(project.path / ".venv/bin/python"), "-m", "uvicorn"]
    opener = partial(stock_service, program, tmp_path)
    names = ["SIGKILL, then an empty server"]
    (outcome,) = asyncio.run(run_all(project.path, opener, SHORT, names))
    assert outcome.errors
