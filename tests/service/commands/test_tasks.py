"""`api-admin test`, `lint` and `check`, and where they refuse."""

import sys
from pathlib import Path

import pytest

from app.commands import tasks
from app.commands.refusals import Refused
from tests.servers.service import Run, refusal


def test_arguments_are_those_of_pytest(
    run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    result = run("test", "--co", "-q", "tests/test_main.py")

    assert result.exit_code == 0
    assert result.stdout == "$ pytest --co -q tests/test_main.py\n"
    assert "tests/test_main.py" in capfd.readouterr().out


def test_all_commands_run_and_those_that_failed_are_named(
    capfd: pytest.CaptureFixture[str],
) -> None:
    wrong = ("ruff", "check", "nowhere.py")
    with pytest.raises(Refused, match=r"^Failed: ruff check nowhere\.py$"):
        tasks.run(wrong, ("ruff", "--version"))

    printed = capfd.readouterr().out.splitlines()
    shown = [line for line in printed if line.startswith("$")]
    assert shown == ["$ ruff check nowhere.py", "$ ruff --version"]


@pytest.mark.parametrize("command", ["test", "lint", "check"])
def test_a_tool_that_is_not_installed_is_named(
    run: Run, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    line = refusal(run(command))

    tool = "pytest" if command == "test" else "ruff"
    assert line.startswith(f"Error: {tool} is not installed here: ")
    assert line.endswith("uv sync")


def test_an_installed_service_is_not_updated(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.commands.update.ROOT", tmp_path)

    assert "in which it is developed, not where it is installed" in refusal(
        run("update")
    )
