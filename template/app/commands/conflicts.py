"""What an update of the template leaves for people to decide.

Copier merges. Where it cannot, both versions are in the file, between markers, or (with
`--conflict rej`) the owner's changes are in a `.rej` file beside it. A file that the
template has given up is removed, also when the owner had changed it.
"""

import re
import subprocess
from pathlib import Path

from app.commands.console import say

ROOT = Path(__file__).parents[2]
ANSWERS = ".copier-answers.yml"

BEGIN = "<<<<<<< "
MARKER = "^(<<<<<<<|>>>>>>>) "


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
