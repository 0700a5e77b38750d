"""`api-admin update`: what is new in the template, or other answers to its questions.

Copier does the update, and exits with 0 also where it left conflicts. So they are named
here, file by file, and the service is checked before anything is committed. Where it
cannot merge, both versions are in the file, between markers, or (with `--conflict rej`)
the owner's changes are in a `.rej` file beside it. A file that the template has given
up is removed, also when the owner had changed it.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from app.commands.console import hint, say
from app.commands.refusals import Refused
from app.commands.tasks import ROOT, SETTINGS, TESTS, Command, find, run, succeeds

COPIER = "copier>=9.19,<10"
ANSWERS = ".copier-answers.yml"
MIGRATIONS: Command = ("api-admin", "db", "upgrade", "--dry-run")

BEGIN = "<<<<<<< "
MARKER = "^(<<<<<<<|>>>>>>>) "

app = typer.Typer()


@app.command(
    epilog="""[bold]Examples[/bold]

  api-admin update                       to the newest version
  api-admin update --vcs-ref v0.2.0      to this version
  api-admin update -d QUESTION=ANSWER    another answer, the same version
  api-admin update --continue            once the conflicts are solved"""
)
def update(
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="QUESTION=ANSWER",
            help=f"Change an answer of {ANSWERS}. The version stays, unless --vcs-ref "
            "names another one.",
        ),
    ] = None,
    vcs_ref: Annotated[
        str | None, typer.Option(help="The template's version to go to.")
    ] = None,
    go_on: Annotated[
        bool, typer.Option("--continue", help="Finish an update: check what it did.")
    ] = False,
    no_test: Annotated[
        bool, typer.Option("--no-test", help="Do not run the tests.")
    ] = False,
) -> None:
    """Update the service from its template, where it is developed, and check it.

    Commit your work first: git then has it, whatever the update does.

    Nothing is committed here, and .env and the database stay as they are.
    """
    _require_development()
    if not go_on:
        _require_clean()
        _copy(data or [], vcs_ref)
        name_removed()
    if found := conflicts():
        explain(found)
        raise typer.Exit(1)
    if go_on:
        _finish(no_test=no_test)
    else:
        # In a process of its own: the code of this one is that of before.
        more = ["--no-test"] if no_test else []
        again = [find("api-admin"), "update", "--continue", *more]
        raise typer.Exit(subprocess.run(again, cwd=ROOT, check=False).returncode)


def _require_development() -> None:
    if not (ROOT / ANSWERS).exists():
        raise Refused(
            f"There is no {ANSWERS} in {ROOT}: update the service in the folder in"
            " which it is developed, not where it is installed"
        )
    if not git("rev-parse", "--git-dir"):
        raise Refused(
            "An update needs the service's history in git:"
            ' git init && git add --all && git commit -m "Start"'
        )


def _require_clean() -> None:
    if conflicts():
        raise Refused("There is an update to finish: api-admin update --continue")
    if changed := git("status", "--porcelain").splitlines():
        raise Refused(
            f"{counted(len(changed))} not committed. Commit your work first:"
            ' git add --all && git commit -m "Work"'
        )


def _copy(data: list[str], vcs_ref: str | None) -> None:
    """Let Copier update the files, and say which version they are of."""
    if data and vcs_ref is None:
        vcs_ref = ":current:"  # another answer asks for no newer version
    before = _version()
    options = ["--defaults", "--quiet", "--conflict=inline"]
    if vcs_ref:
        options += ["--vcs-ref", vcs_ref]
    for answer in data:
        options += ["--data", answer]
    command = [*_copier(), "update", *options]
    say(f"$ copier update {' '.join(options)}", style="bold")
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise Refused("Copier did not update the service, and says why above")
    for answer in data:
        name = answer.partition("=")[0]
        if not re.search(rf"^{re.escape(name)}:", _answers(), re.M):
            hint(f"The template asks no question {name}")  # Copier says nothing of it
    if not git("status", "--porcelain"):
        say(f"Nothing to do: this is version {before}, with these answers")
        raise typer.Exit
    if _version() != before:
        say(f"From version {before} of the template to {_version()}")


def _copier() -> list[str]:
    """Return how to start Copier, which is no dependency of the service."""
    if uv := _uv():
        return [uv, "tool", "run", COPIER]
    if copier := shutil.which("copier"):
        return [copier]
    raise Refused(
        f"Neither uv nor Copier is here. Install one: pip install uv, or '{COPIER}'"
    )


def _uv() -> str | None:
    return os.environ.get("UV") or shutil.which("uv")  # `uv run` says where it is


def _finish(*, no_test: bool) -> None:
    """Check settings, migrations and tests with the code and packages as they are."""
    mark_solved()
    if (uv := _uv()) and not succeeds(("uv", "sync"), uv):
        raise Refused("Failed: uv sync. Then: api-admin update --continue")
    try:
        run(SETTINGS, MIGRATIONS)
        if not no_test:
            run(TESTS)
    except Refused as failed:
        raise Refused(f"{failed}. Mend it, then: api-admin update --continue") from None
    say("Everything is well", style="bold")
    if git("status", "--porcelain"):
        message = f"Version {_version()} of the template"
        hint(f'Commit it: git add --all && git commit -m "{message}"')
    hint("Then bring each database up to date: api-admin db upgrade")


def _version() -> str:
    found = re.search(r"^_commit: (\S+)", _answers(), re.M)
    return found[1] if found else "unknown"


def _answers() -> str:
    return (ROOT / ANSWERS).read_text("utf-8")


# What is left for people to decide


def conflicts() -> list[str]:
    """Return the files that hold markers, and the `.rej` files."""
    marked = _names("grep", "--untracked", "--name-only", "-z", "-E", MARKER)
    listed = _names(
        *("ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.rej")
    )
    return [*marked, *(name for name in listed if (ROOT / name).exists())]


def explain(names: list[str]) -> None:
    """Say for each of them what to do, and nothing that loses what the owner wrote."""
    say(f"Left to decide, in {counted(len(names))}:", style="bold")
    for name in names:
        if name.endswith(".rej"):
            say(f"\n{name}", style="bold")
            say(f"  Changes of yours that did not fit. Make them in {name[:-4]} again,")
            say(f"  and only then remove {name}.")
            continue
        say(f"\n{name}, {_places(ROOT / name)}", style="bold")
        say(
            "  Above ======= is yours, below it the template's. Write one text that has"
        )
        say("  what you need of both, and take out the three lines with the markers.")
        say(f"  Your file before the update: git show HEAD:./{name}")
        if name == "pyproject.toml":
            say("  Begin with this file: `uv run` cannot read it until then.")
    say("\nThen run: api-admin update --continue", style="bold")
    say("To give the update up, and keep it aside: git add --all && git stash")


def name_removed() -> None:
    """Say what the update has removed, and name what the owner had changed of it."""
    removed = _names(
        *("diff", "HEAD", "--name-only", "--relative", "-z", "--diff-filter=D")
    )
    if removed:
        say(f"The template no longer has {counted(len(removed))}, now removed")
    # Commits with the answers are renders and updates; the others are the owner's.
    theirs = git("log", "--format=%H", "--", ANSWERS).split()
    for name in removed:
        if git("log", "-1", "--format=%H", "--", name).strip() not in theirs:
            say(f"- {name} had changes of yours: git show HEAD:./{name}")


def mark_solved() -> None:
    """Tell git that no file is in conflict any more."""
    if names := _names("diff", "--name-only", "--relative", "-z", "--diff-filter=U"):
        git("add", "--", *names)


def counted(files: int) -> str:
    return f"{files} file{'s' * (files != 1)}"


def git(*arguments: str) -> str:
    """Return what git prints in the service's folder; nothing where it fails."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout


def _names(*arguments: str) -> list[str]:
    return [name for name in git(*arguments).split("\0") if name]


def _places(path: Path) -> str:
    lines = path.read_text("utf-8", errors="replace").splitlines()
    begins = [str(n) for n, line in enumerate(lines, 1) if line.startswith(BEGIN)]
    if not begins:
        begins = [str(n) for n, line in enumerate(lines, 1) if re.match(MARKER, line)]
    return f"line{'s' * (len(begins) > 1)} {', '.join(begins)}"
