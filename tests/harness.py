"""Renders projects for the tests, and runs commands in them.

pytest-copie reports a failed render instead of raising it, takes misspelt answers for
none, and knows nothing of conflicts. Here each of these fails the test.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import copier
import yaml
from allpairspy import AllPairs
from pytest_copie.plugin import Copie

ROOT = Path(__file__).resolve().parent.parent
CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "copier.yml").read_text("utf-8"))
QUESTIONS = {name: spec for name, spec in CONFIG.items() if not name.startswith("_")}

Answers = dict[str, Any]

PATIENCE = 1800  # seconds until a command counts as hanging

# Variables that would change what a rendered service or its tools do.
FOREIGN = re.compile(
    r"VIRTUAL_ENV|PYTHONPATH|PYTEST_.*|COPIER_.*|UV_PROJECT_ENVIRONMENT|SECRET_KEY"
    r"|(CACHE|REDIS|DATABASE|LOG|API|RATE_LIMIT|METRICS)_.*|ENVIRONMENT|ENV_FILE|HOST"
    r"|PORT|WORKERS"
    r"|SHUTDOWN_TIMEOUT|FORWARDED_ALLOW_IPS|ROOT_PATH|ALLOWED_HOSTS"
)


# `uv run` names itself here; it need not be on PATH, as in the README's commands.
UV = os.environ.get("UV") or shutil.which("uv") or "uv"


def clean_environment(**changes: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not FOREIGN.fullmatch(k)}
    path = os.pathsep.join((str(Path(UV).parent), kept["PATH"]))
    return kept | {"NO_COLOR": "1", "PATH": path} | changes


def rendered_files(folder: Path) -> Iterator[Path]:
    """All files of a project but those that tools made, as relative paths."""
    made = {".git", ".venv", "__pycache__", "data", "dist", "uv.lock"}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        caches = any(part.endswith("_cache") for part in relative.parts)
        if path.is_file() and not caches and made.isdisjoint(relative.parts):
            yield relative


ENVIRONMENTS: list[Path] = []  # all that this process has made


def share_bytecode(environment: Path) -> None:
    """Give an environment the bytecode that its packages have in those before it.

    Python takes bytecode only for a source of the same size and time, which it has
    where uv linked both to its cache.
    """
    for one in ENVIRONMENTS:
        for folder in one.glob("lib/*/site-packages/**/__pycache__"):
            target = environment / folder.relative_to(one)
            if target.parent.exists():
                target.mkdir(exist_ok=True)
                for file in folder.glob("*.pyc"):  # none that is being written
                    with suppress(FileExistsError):
                        (target / file.name).hardlink_to(file)
    ENVIRONMENTS.append(environment)


@dataclass(frozen=True)
class Project:
    """One rendered project."""

    path: Path
    answers: Answers

    def files(self) -> dict[str, bytes]:
        return {
            path.as_posix(): (self.path / path).read_bytes()
            for path in rendered_files(self.path)
        }

    def text(self, name: str) -> str:
        return (self.path / name).read_text("utf-8")

    def run(self, *command: str | Path, **environment: str) -> str:
        """Run a command in the project; return what it printed; fail if it fails.

        A command without a path is taken from the project's virtual environment if
        it is there.
        """
        name, *arguments = map(str, command)
        inside = self.path / ".venv" / "bin" / name
        with subprocess.Popen(
            [str(inside) if inside.exists() else name, *arguments],
            cwd=self.path,
            env=clean_environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                printed, _ = process.communicate(timeout=PATIENCE)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)  # and all that it started
                raise
        assert process.returncode == 0, (
            f"{name} {' '.join(arguments)}: exit {process.returncode}\n{printed}"
        )
        return printed

    def sync(self, *options: str, environment: Path | None = None) -> None:
        """Run `uv sync`, for `.venv` or another folder.

        What Python compiled in the environments before it is not compiled again.
        """
        folder = environment or self.path / ".venv"
        variable = {"UV_PROJECT_ENVIRONMENT": str(folder)} if environment else {}
        self.run("uv", "sync", "--quiet", *options, **variable)
        share_bytecode(folder)

    def commit(self, message: str = "work") -> None:
        if not (self.path / ".git").exists():
            self.run("git", "init", "--quiet", "--initial-branch=main")
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", message)

    def assert_no_conflicts(self) -> None:
        """Copier exits with 0 also after an update that left conflicts."""
        assert not self.run("git", "ls-files", "--unmerged"), "unmerged entries"
        for name, content in self.files().items():
            assert not name.endswith(".rej"), f"rejected change: {name}"
            assert b"<<<<<<< before updating" not in content, f"conflict: {name}"


@dataclass
class Template:
    """A template folder that projects are rendered from."""

    path: Path
    copie: Copie
    renders: dict[str, Project] = field(default_factory=dict)

    def copy(self, vcs_ref: str = "HEAD", **answers: Any) -> Project:
        """Render a new project, with the defaults for what is not answered."""
        assert_known(answers)
        result = self.copie.copy(answers, template_dir=self.path, vcs_ref=vcs_ref)
        if result.exception is not None:
            raise result.exception
        assert result.exit_code == 0
        assert result.project_dir is not None
        for name, answer in answers.items():
            if name in result.answers:
                assert result.answers[name] == answer, f"{name} was not taken"
        return Project(result.project_dir, result.answers)

    def render(self, **answers: Any) -> Project:
        """Like `copy`, but the same answers give the same project: only look at it."""
        key = repr(sorted(answers.items()))
        if key not in self.renders:
            self.renders[key] = self.copy(**answers)
        return self.renders[key]

    def update(
        self, project: Project, vcs_ref: str | None = None, **answers: Any
    ) -> Project:
        """Update a committed project, to the newest tag if none is given.

        `:current:` stays at its version, to change answers only. A conflict fails.
        `copie.update` cannot change an answer that was given before.
        """
        assert_known(answers)
        worker = copier.run_update(
            project.path,
            data=answers,
            defaults=True,
            overwrite=True,
            quiet=True,
            vcs_ref=copier.VcsRef.CURRENT if vcs_ref == ":current:" else vcs_ref,
        )
        updated = Project(project.path, dict(worker.answers.combined))
        updated.assert_no_conflicts()
        return updated


def assert_known(answers: Answers) -> None:
    """Copier ignores the answers to questions that it does not ask."""
    assert answers.keys() <= QUESTIONS.keys(), f"no question: {answers.keys()}"


def take_snapshot(target: Path) -> Path:
    """Copy the template without its repository: Copier renders it twice as fast."""
    target.mkdir(parents=True)
    shutil.copy2(ROOT / "copier.yml", target)
    ignore = shutil.ignore_patterns("__pycache__", "*_cache", ".venv", "*.pyc")
    for folder in ("includes", "template"):
        shutil.copytree(ROOT / folder, target / folder, ignore=ignore)
    return target


def make_repository(snapshot: Path, target: Path, tag: str) -> Path:
    """A repository of the snapshot with one tagged commit, as updates need it."""
    shutil.copytree(snapshot, target)
    repository = Project(target, {})
    repository.commit(tag)
    repository.run("git", "tag", tag)
    return target


# The optional parts, and enough combinations of them to have every pair of answers.


def optional_parts() -> dict[str, list[Any]]:
    """Each question with a few fixed answers, and these; the cache's two are one."""
    parts: dict[str, list[Any]] = {}
    for name, spec in QUESTIONS.items():
        if spec["type"] == "bool":
            parts[name] = [True, False]
        elif "choices" in spec:
            parts[name] = list(spec["choices"].values())
    # Where one of them is renamed, it is for the tests of the questions to say so.
    parts["cache"] = [*parts.pop("cache_backend", []), "none"]
    parts.pop("enable_caching", None)
    parts.pop("dependency_updates", None)  # one file: test_packaging.py has its answers
    # The largest first: the first rows then have all pairs of database and cache.
    return dict(sorted(parts.items(), key=lambda part: -len(part[1])))


def as_answers(row: dict[str, Any]) -> Answers:
    answers = dict(row)
    cache = answers.pop("cache")
    if cache == "none":
        return answers | {"enable_caching": False}
    return answers | {"enable_caching": True, "cache_backend": cache}


def covering_rows() -> list[dict[str, Any]]:
    parts = optional_parts()
    return [dict(zip(parts, row, strict=True)) for row in AllPairs(parts.values())]


ROWS = covering_rows()


def row_id(row: dict[str, Any]) -> str:
    """Such as sqlite-redis-docker."""
    extras = [name for name, answer in row.items() if answer is True]
    return "-".join([row["database"], row["cache"], *extras])


# One row for each cache and database: these are what is installed, tested and served.
VARIANTS = list({(row["database"], row["cache"]): row for row in ROWS[::-1]}.values())
VARIANTS.sort(key=lambda row: (row["database"], row["cache"]))
