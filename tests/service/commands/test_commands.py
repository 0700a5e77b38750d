"""What all commands share."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from app import commands
from app.commands.console import printable
from tests.servers.service import Run

WHOLE = """
import typer

app = typer.Typer()
app.command("backup")(lambda: print("stored"))
app.command("restore")(lambda: print("back"))
"""

GROUPS = ["db", "env", "keys", "user"]


def test_help_teaches_with_examples(run: Run) -> None:
    for group in GROUPS:
        assert f"api-admin {group}" in run(group, "--help").stdout
    assert "api-admin serve --reload" in run("serve", "--help").stdout


def test_help_loads_neither_the_web_nor_the_database_libraries() -> None:
    code = "import sys, app.commands; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert "app.commands.serve" in modules
    assert not {"fastapi", "sqlalchemy", "alembic", "uvicorn"}.intersection(modules)


@pytest.mark.parametrize("arguments", [["nonsense"], ["user", "show"], ["db", "--x"]])
def test_wrong_usage_exits_with_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_module_with_an_app_becomes_commands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = typer.Typer(name="invoices")
    group.command("send")(lambda: print("sent"))
    single = typer.Typer()
    single.command("backup")(lambda: print("stored"))
    files = []
    for name, app in (("invoices", group), ("backup", single), ("prices", None)):
        module = ModuleType(f"app.commands.{name}")
        module.__dict__["app"] = app
        monkeypatch.setitem(sys.modules, module.__name__, module)
        files.append(SimpleNamespace(name=name))
    monkeypatch.setattr(commands, "iter_modules", lambda _: files)
    parent = typer.Typer()
    commands.discover(parent)

    def output(*arguments: str) -> str:
        return CliRunner().invoke(parent, arguments).stdout

    assert output("invoices", "send") == "sent\n"
    assert output("backup") == "stored\n"


def test_a_module_with_a_conflict_takes_only_its_own_commands_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So `api-admin update --continue` is there to finish an update."""
    for name, text in (("broken", "<<<<<<< yours\n"), ("whole", WHOLE)):
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(commands, "__path__", [str(tmp_path)])
    parent = typer.Typer()
    commands.discover(parent)

    assert CliRunner().invoke(parent, ["backup"]).stdout == "stored\n"
    assert "broken.py, line 1, is no Python: left out" in capsys.readouterr().err
    for name in ("broken", "whole"):
        sys.modules.pop(f"app.commands.{name}", None)


def test_control_characters_are_shown_and_not_sent() -> None:
    assert printable("a\x1b[2Jb\u202ec\x9bd") == "a\\x1b[2Jb\\u202ec\\x9bd"
    assert printable("Zoë 日本 🦊") == "Zoë 日本 🦊"
