"""Where contenders run: an environment of pinned packages, or a rendered project."""

import hashlib
import os
import shutil
import subprocess
import warnings
from collections.abc import Mapping
from pathlib import Path

import copier

from benchmarks.contenders import FRAMEWORK, Contender
from benchmarks.processes import Failed

ROOT = Path(__file__).resolve().parent.parent
UV = os.environ.get("UV", "uv")  # `uv run` names itself, which need not be on PATH
ENVIRONMENTS = ROOT / ".cache" / "benchmarks"  # kept from run to run


def environment_of(contender: Contender) -> Path:
    """Return the folder of a peer's virtual environment, made if it is not there."""
    packages = sorted({*FRAMEWORK, *contender.requires})
    digest = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:12]
    folder = ENVIRONMENTS / f"{contender.environment}-{digest}"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        run(UV, "venv", "--quiet", str(folder))
        run(UV, "pip", "install", "--quiet", "--python", str(folder), *packages)
        (folder / "ready").touch()
    return folder


def render(cache: str, folder: Path) -> Path:
    """Render the template into `folder`; `cache` is none, memory or redis."""
    answers: dict[str, object] = {"enable_caching": cache != "none"}
    if cache != "none":
        answers["cache_backend"] = cache
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files that are not committed
        copier.run_copy(
            str(ROOT), folder, data=answers, defaults=True, quiet=True, vcs_ref="HEAD"
        )
    return folder


def install(project: Path) -> Path:
    """Return the folder of a rendered project's environment."""
    run(UV, "sync", "--quiet", "--no-dev", cwd=project)
    return project / ".venv"


def versions(environment: Path) -> dict[str, str]:
    """Return the packages of an environment with their versions."""
    listed = run(UV, "pip", "freeze", "--python", str(environment))
    pairs = (line.split("==") for line in listed.splitlines() if "==" in line)
    return {name: version for name, version in pairs}  # noqa: C416 - for the types


def run(
    *command: str, cwd: Path | None = None, settings: Mapping[str, str] | None = None
) -> str:
    """Return what a command printed; `Failed` when it failed."""
    # This process's own environment is not that of a contender.
    foreign = {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"}
    environment = {k: v for k, v in os.environ.items() if k not in foreign}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment | dict(settings or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def python(environment: Path) -> str:
    return str(environment / "bin" / "python")
