"""`api-admin update` in a service whose owner has worked on what the template changes.

Others have reported of their templates: advice on conflicts that deletes the owner's
code, nothing that finishes an update with conflicts, and a part that cannot be added
without a newer version of everything.
"""

import re
import shutil
from pathlib import Path

import pytest

from harness import Project, Template, make_repository
from test_after_update import (
    FIELD,
    OUR_FILE,
    OURS,
    SETTING,
    THEIR_FILE,
    THEIRS,
    add_migration,
    refused,
    replace,
)

QUICK = {"PYTEST_ADDOPTS": "-n 0 -p no:cacheprovider tests/resources/test_health.py"}

SIZE = "MAX_BODY_SIZE = 16_384"
SCHEME = 'return f"http://{host}:{port}"'
UV_RANGE = "uv_build>=0.13,<0.14"


@pytest.fixture(scope="module")
def source(snapshot: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The template at v0.1.0; at v0.2.0 it has changed, gained and lost something."""
    folder = tmp_path_factory.mktemp("source") / "template"
    source = Project(make_repository(snapshot, folder, "v0.1.0"), {})
    replace(source, "includes/env.jinja", "\n# --- Database --", SETTING)
    config = source.path / "template/app/config/server.py"
    config.write_text(config.read_text() + FIELD)
    add_migration(source.path / "template", THEIR_FILE, THEIRS)
    replace(source, "template/app/main.py", SIZE, SIZE.replace("1", "8", 1))
    serve = "template/app/commands/serve.py"
    replace(source, serve, SCHEME, SCHEME.replace("http", "HTTP"))
    replace(source, "template/pyproject.toml.jinja", UV_RANGE, "uv_build>=0.13,<0.15")
    (source.path / "template/tests/test_access.py").unlink()
    (source.path / "template/tests/test_openapi.py").unlink()
    source.commit("v0.2.0")
    source.run("git", "tag", "v0.2.0")
    return source


@pytest.fixture(scope="module")
def service(source: Project, template: Template) -> Project:
    """A service at v0.1.0 with an owner's work, all of it committed."""
    service = Template(source.path, template.copie).copy(vcs_ref="v0.1.0")
    service.sync()
    service.commit("Start")
    service.run("api-admin", "db", "upgrade")
    add_migration(service.path, OUR_FILE, OURS)
    replace(service, "app/main.py", SIZE, SIZE.replace("1", "9", 1))
    replace(service, "app/commands/serve.py", SCHEME, SCHEME.replace("http", "https"))
    replace(service, "pyproject.toml", UV_RANGE, "uv_build>=0.13")
    with (service.path / "tests/test_access.py").open("a") as file:
        file.write("\n\nMINE = 1\n")
    service.commit("My work")
    return service


@pytest.fixture
def committed(service: Project) -> Project:
    """The service as its owner had committed it, whatever was tried on it before."""
    service.run("git", "add", "--all")
    service.run("git", "stash")
    assert not service.run("git", "status", "--porcelain")
    env = service.text(".env").splitlines(keepends=True)
    names = re.compile("REDIS_|CACHE_FALLBACK|CACHE_TIMEOUT|DRAIN_")
    (service.path / ".env").write_text("".join(x for x in env if not names.match(x)))
    return service


def version_of(service: Project) -> str:
    found = re.search(r"^_commit: (\S+)", service.text(".copier-answers.yml"), re.M)
    assert found
    return found[1]


def test_uncommitted_work_is_refused_and_kept(committed: Project) -> None:
    replace(committed, "README.md", "## Start\n", "## Begin\n")
    (committed.path / "app/mine.py").write_text("MINE = 1\n")
    assert refused(committed, "api-admin", "update") == (
        "Error: 2 files not committed. Commit your work first:"
        ' git add --all && git commit -m "Work"\n'
    )
    assert "## Begin\n" in committed.text("README.md")
    assert committed.text("app/mine.py") == "MINE = 1\n"
    assert version_of(committed) == "v0.1.0"


def test_says_how_to_get_copier(committed: Project, tmp_path: Path) -> None:
    git = shutil.which("git")
    assert git
    (tmp_path / "git").symlink_to(git)
    printed = refused(committed, "api-admin", "update", PATH=str(tmp_path), UV="")
    assert printed.startswith("Error: Neither uv nor Copier is here. Install one: ")
    assert "pip install uv, or 'copier>=9.19,<10'" in printed


def test_is_refused_where_the_service_is_installed(
    committed: Project, tmp_path: Path
) -> None:
    shutil.copytree(committed.path / "app", tmp_path / "app")
    installed = {"PYTHONPATH": str(tmp_path)}
    printed = refused(committed, "api-admin", "update", **installed)
    assert printed.startswith(f"Error: There is no .copier-answers.yml in {tmp_path}")


def test_another_answer_asks_for_no_newer_version(committed: Project) -> None:
    lock = set(
        re.findall(r'name = "(\S+)"\nversion = "(\S+)"', committed.text("uv.lock"))
    )
    answers = ["-d", "cache_backend=redis", "-d", "chache=redis"]
    printed = refused(committed, "api-admin", "update", *answers, "--no-test")
    assert "The template asks no question chache\n" in printed
    assert "$ api-admin env check\n" in printed
    assert "- REDIS_ENABLED is missing" in printed
    committed.run("api-admin", "env", "check", "--fix")
    printed = committed.run("api-admin", "update", "--continue", "--no-test")
    assert "Everything is well\n" in printed
    assert "$ pytest" not in printed

    assert version_of(committed) == "v0.1.0"
    assert "cache_backend: redis" in committed.text(".copier-answers.yml")
    assert '"redis>=' in committed.text("pyproject.toml")
    now = re.findall(r'name = "(\S+)"\nversion = "(\S+)"', committed.text("uv.lock"))
    assert lock < set(now)


def test_conflicts_are_named_solved_and_finished(committed: Project) -> None:
    before = committed.files()
    printed = refused(committed, "api-admin", "update")
    for name in ("app/commands/serve.py", "app/main.py", "pyproject.toml"):
        assert re.search(rf"^{name}, line \d+$", printed, re.M), name
        assert f"git show HEAD:./{name}\n" in printed
    assert "Begin with this file: `uv run` cannot read it" in printed
    assert printed.count(", line ") == 3
    assert "\nThen run: api-admin update --continue\n" in printed
    # Of this, Copier says nothing.
    assert "The template no longer has 2 files, now removed\n" in printed
    assert "- tests/test_access.py had changes of yours: git show HEAD:./" in printed
    assert "test_openapi" not in printed

    # Giving it up loses neither the owner's work nor what is solved already.
    (advice,) = re.findall(r"^To give the update up.*?: (.+)$", printed, re.M)
    committed.run("bash", "-ec", advice)
    assert committed.files() == before
    committed.run("git", "stash", "pop")

    # A conflict in one of the commands takes away this one only.
    again = refused(committed, "api-admin", "update", "--continue")
    assert "app/commands/serve.py, line " in again.splitlines()[0]
    assert "is no Python: left out" in again.splitlines()[0]
    assert printed.endswith(again.partition("\n")[2])
    assert "There is an update to finish" in refused(committed, "api-admin", "update")

    for name in ("app/commands/serve.py", "app/main.py", "pyproject.toml"):
        conflict = re.compile(r"<<<<<<< .*\n(.*\n)=======\n.*\n>>>>>>> .*\n")
        solved, places = conflict.subn(r"\1", committed.text(name))
        assert places == 1
        (committed.path / name).write_text(solved)
    rejected = committed.path / "app/main.py.rej"
    rejected.write_text("@@ -1 +1 @@\n")
    printed = refused(committed, "api-admin", "update", "--continue")
    assert "Make them in app/main.py again,\n" in printed
    rejected.unlink()

    printed = refused(committed, "api-admin", "update", "--continue", **QUICK)
    assert "- DRAIN_TIMEOUT is missing" in printed
    assert "join them with: api-admin db merge\n" in printed
    assert printed.splitlines()[-1] == (
        "Error: Failed: api-admin env check, api-admin db upgrade --dry-run."
        " Mend it, then: api-admin update --continue"
    )
    committed.run("api-admin", "env", "check", "--fix")
    committed.run("api-admin", "db", "merge")

    printed = committed.run("api-admin", "update", "--continue", **QUICK)
    _, _, planned = printed.partition("Would run 3 migrations:\n")
    assert f"- {OUR_FILE}\n" in planned
    assert f"- {THEIR_FILE}\n" in planned
    assert "$ pytest\n" in printed
    assert "Everything is well\n" in printed
    (commit,) = re.findall(r"^Commit it: (.+)$", printed, re.M)
    committed.run("bash", "-ec", commit)
    assert not committed.run("git", "status", "--porcelain")
    assert "Version v0.2.0 of the template" in committed.run("git", "log", "-1")
    assert "96_384" in committed.text("app/main.py")
    committed.run("git", "reset", "--quiet", "--hard", "HEAD~1")
