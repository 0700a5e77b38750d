"""api-admin cache, where only the running process can look into it."""

import pytest

from tests.servers.service import Run, refusal


@pytest.mark.parametrize("command", ["status", "stats"])
def test_says_how_to_ask_the_process(run: Run, command: str) -> None:
    result = run("cache", command)

    assert result.exit_code == 1
    assert "Cache-Status" in result.stderr
    assert "Traceback" not in result.stderr


def test_explains_what_it_can(run: Run, ada: str) -> None:
    result = run("cache", "explain", "/users/me", "--user", ada)

    assert result.exit_code == 0
    assert "user:1:me" in result.stdout
    assert "Cache-Status" in result.stderr


def test_says_that_all_is_dropped(run: Run) -> None:
    assert "everything" in run("cache", "clear", "user:1").stdout


def test_an_unknown_user_is_refused_before(run: Run) -> None:
    assert "no user" in refusal(run("cache", "explain", "/users/me", "--user", "7"))
