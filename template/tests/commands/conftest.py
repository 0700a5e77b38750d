"""The command line, run in this process on the test's database."""

from typing import Protocol

import pytest
from typer.testing import CliRunner, Result

from app import commands
from app.config import Settings


class Run(Protocol):
    """Runs `api-admin` with these arguments and `input` in a stdin that is a pipe."""

    def __call__(self, *arguments: str, input: str = "") -> Result: ...


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    for variable in ("COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)

    def run(*arguments: str, input: str = "") -> Result:
        return CliRunner().invoke(
            commands.app,
            arguments,
            input=input,
            catch_exceptions=False,
            prog_name="api-admin",
        )

    return run


@pytest.fixture
def ada(run: Run) -> str:
    """Return the address of a user whose id is 1."""
    return add_user(run, "ada@example.com", "Ada", "Lovelace")


def add_user(run: Run, email: str, first_name: str, last_name: str, *more: str) -> str:
    result = run(
        *("user", "create", "--email", email, "--password-stdin"),
        *("--first-name", first_name, "--last-name", last_name, *more),
        input="correct horse battery staple\n",
    )
    assert result.exit_code == 0, result.output
    return email


def refusal(result: Result) -> str:
    """Return the one line with which a command refused."""
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line
