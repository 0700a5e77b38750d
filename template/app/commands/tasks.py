"""`api-admin test`, `lint` and `check`: the development tools, as CI runs them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from app.commands.console import say
from app.commands.refusals import Refused

ROOT = Path(__file__).parents[2]
"""The service's folder; where the service is only installed, its tools are not."""

Command = tuple[str, ...]

FORMAT: Command = ("ruff", "format", "--check")
LINT: Command = ("ruff", "check")
TYPES: Command = ("mypy",)
MIGRATIONS: Command = ("api-admin", "db", "check")
SETTINGS: Command = ("api-admin", "env", "check")
TESTS: Command = ("pytest",)

app = typer.Typer()


@app.command(
    "test",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    epilog="""[bold]Examples[/bold]

  api-admin test                          all tests, in two processes
  api-admin test -n 0 -x -k "user"        any arguments of pytest
  api-admin test tests/test_access.py     one file""",
)
def run_tests(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="Passed on to pytest.", show_default=False),
    ] = None,
) -> None:
    """Run the tests."""
    run((*TESTS, *(arguments or ())))


@app.command(
    epilog="""[bold]Examples[/bold]

  api-admin lint
  api-admin lint --fix    format, and mend what the linter can mend"""
)
def lint(
    fix: Annotated[
        bool, typer.Option("--fix", help="Change the files, not only name them.")
    ] = False,
) -> None:
    """Look for mistakes without running the code: format, linter, types."""
    if fix:
        run((*LINT, "--fix"), FORMAT[:-1], TYPES)
    else:
        run(FORMAT, LINT, TYPES)


@app.command(
    epilog="""[bold]Example[/bold]

  api-admin check && git push"""
)
def check() -> None:
    """Check everything that CI checks: lint, migrations, settings, tests.

    Compares the models with your own database, which has to be migrated. Changes
    nothing.
    """
    run(FORMAT, LINT, TYPES, MIGRATIONS, SETTINGS, TESTS)


def run(*commands: Command) -> None:
    """Show and run each command in the service's folder, also after one that failed.

    Raises Refused, which names those that failed.
    """
    programs = [find(command[0]) for command in commands]
    failed = [
        " ".join(command)
        for program, command in zip(programs, commands, strict=True)
        if not succeeds(command, program)
    ]
    if failed:
        raise Refused(f"Failed: {', '.join(failed)}")


def succeeds(command: Command, program: str) -> bool:
    """Show a command, run it with what `program` is, and return whether it ended well.

    What it prints goes straight to the terminal.
    """
    say(f"$ {' '.join(command)}", style="bold")
    done = subprocess.run([program, *command[1:]], cwd=ROOT, check=False)
    return done.returncode == 0


def find(name: str) -> str:
    """Return where a development tool of this environment is.

    Raises Refused, which says how to get it.
    """
    program = shutil.which(name, path=str(Path(sys.executable).parent))
    if program is None:
        raise Refused(
            f"{name} is not installed here: it is a tool for development."
            " In the folder in which you develop the service: uv sync"
        )
    return program
