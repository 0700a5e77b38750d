"""Runs what a service does not carry, in rendered services.

`tests/engine/` has the tests of the cache's engine, `tests/service/` those of the other
parts that an owner does not edit: the command line, settings, servers, databases.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import copier

from harness import (
    ROOT,
    Answers,
    Project,
    clean_environment,
    share_bytecode,
    take_snapshot,
)

FOLDERS = ("engine", "service")  # of tests/
KEPT = ROOT / ".cache" / "engine"  # the services that the command renders

# What the tests import and a service has no use for.
TOOLS = (
    *("hypothesis>=6.160", "pytest-xdist>=3.8"),
    *("gunicorn>=23", "uvicorn-worker>=0.4"),
    *("opentelemetry-sdk>=1.45", "schemathesis>=4.32"),
    "opentelemetry-instrumentation-sqlalchemy>=0.66b2",  # which has betas only
)

COMMAND = ("pytest", "-q")
# A file's tests may share a server, so they stay in one process, which has its own.
IN_PARALLEL = ("-n", "2", "--dist", "loadfile")

# The names in these folders that are only about one answer, or one part.
ABOUT = {
    "memory": ("memory",),
    "redis": ("redis", "*redis.py"),
    "postgresql": ("postgresql",),
    "sqlite": ("sqlite",),
    "cache": ("engine", "cache", "test_cache.py", "test_cached.py"),
    "no cache": ("test_measure.py",),
    "rate_limit": ("limits", "test_limited_login.py"),
    "metrics": (
        *("served.py", "test_metrics.py", "test_metrics_folder.py"),
        *("known.py", "test_known.py", "test_killed_worker.py", "metrics"),
    ),
    "pages": ("pages",),
}

HELP = """
The services are kept in .cache/engine/, and rendered again when the template has
changed. All options of pytest may follow.

examples:
  uv run python tests/engine_runs.py memory sqlite
  uv run python tests/engine_runs.py redis sqlite tests/engine/test_fresh.py -k stale
  uv run python tests/engine_runs.py redis postgresql -n 2 --dist loadfile
"""


def add_tests(project: Project) -> None:
    """Copy those that concern the project's variant to where its own tests are."""
    answers = project.answers
    cached = answers.get("enable_caching", True)
    chosen = {answers["database"], "cache" if cached else "no cache"}
    if cached:
        chosen.add(answers["cache_backend"])
    chosen.update(part for part in ("rate_limit", "metrics") if answers.get(part, True))
    if cached and all(answers.get(part, True) for part in ("metrics", "admin_pages")):
        chosen.add("pages")
    others = [name for about in ABOUT.keys() - chosen for name in ABOUT[about]]
    for folder in FOLDERS:
        target = project.path / "tests" / folder
        shutil.rmtree(target, ignore_errors=True)
        if folder not in others:
            ignored = shutil.ignore_patterns("__pycache__", *others)
            shutil.copytree(ROOT / "tests" / folder, target, ignore=ignored)


def install(project: Project) -> None:
    """Make the project's environment, with what its own tests and these need."""
    project.run("uv", "sync", "--quiet", "--inexact")
    environment = project.path / ".venv"
    python = environment / "bin/python"
    project.run("uv", "pip", "install", "--quiet", "--python", python, *TOOLS)
    share_bytecode(environment)


def kept_service(answers: Answers) -> Project:
    """Return the service with these answers that is kept from run to run."""
    folder = KEPT / "-".join(answers.values())
    project = Project(folder, answers)
    rendered = folder / ".venv" / "template"
    if not rendered.exists() or rendered.read_text() != _digest():
        _render(project)
        install(project)
        rendered.write_text(_digest())
    add_tests(project)
    return project


def _render(project: Project) -> None:
    """Render into the folder; nothing but its environment is left of an older one."""
    project.path.mkdir(parents=True, exist_ok=True)
    for path in project.path.iterdir():
        if path.name in {".venv", "uv.lock"}:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    snapshot = KEPT / "template"
    shutil.rmtree(snapshot, ignore_errors=True)
    copier.run_copy(
        str(take_snapshot(snapshot)),
        project.path,
        data=project.answers,
        defaults=True,
        quiet=True,
        settings=copier.Settings(),
    )


def _digest() -> str:
    total = hashlib.sha256()
    for path in _sources():
        total.update(f"{path}\0".encode() + path.read_bytes() + b"\0")
    return total.hexdigest()


def _sources() -> Iterator[Path]:
    """The files that a render is made of."""
    yield ROOT / "copier.yml"
    for folder in ("includes", "template"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="engine_runs.py",
        description=__doc__,
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cache", choices=["memory", "redis"])
    parser.add_argument("database", choices=["sqlite", "postgresql"])
    options, others = parser.parse_known_args(arguments)
    project = kept_service(
        {"cache_backend": options.cache, "database": options.database}
    )
    named = any(argument.startswith("tests/") for argument in others)
    where = () if named else [f"tests/{folder}" for folder in FOLDERS]
    command = [project.path / ".venv/bin/pytest", *COMMAND[1:], *where, *others]
    environment = clean_environment()
    return subprocess.run(
        command, cwd=project.path, env=environment, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
