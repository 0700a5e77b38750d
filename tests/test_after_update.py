"""What is to be done after an update, in the words of the rendered service.

Its owner has a migration of his own and a `.env` in his own style; the template gets a
setting and a migration. Conflicts are refused before a commit, and in the owner's CI.
"""

import re
import shutil
import subprocess
import sys
from ast import literal_eval
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import (
    ROOT,
    VARIANTS,
    Project,
    Template,
    as_answers,
    clean_environment,
    make_repository,
    row_id,
)
from serving import serving

COPIER = Path(sys.executable).with_name("copier")

SETTING = """
# How long a stopping service waits for its requests, in seconds, 1 to 3600.
# Default: 30
DRAIN_TIMEOUT=30

# --- Database --"""

FIELD = """
    drain_timeout: int = Field(
        default=30, ge=1, le=3600, description="How long stopping takes, in seconds"
    )
"""

MIGRATION = '''"""{table}"""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "0001"


def upgrade() -> None:
    op.create_table("{table}", sa.Column("id", sa.Integer(), primary_key=True))


def downgrade() -> None:
    op.drop_table("{table}")
'''

SECRET_KEY = "of-no-service-8Jq2vX7mZr4TnK1wYc5LdG9s"

OURS, THEIRS = "3f0c5a9e7b21", "b81d20c4e6fa"
OUR_FILE = f"2026_11_20_{OURS}_add_books.py"
THEIR_FILE = f"2026_11_23_{THEIRS}_nicknames.py"

CACHES = [row for row in VARIANTS if row["database"] == "sqlite"]

# What the page on updating shows is what was printed.
PAGE = (ROOT / "docs/updating.md").read_text()

# No final newline, one name that was a setting once, one that nearly is one.
OWNERS_ENV = """# ours
export PORT="8001" # behind the proxy
LOG_LEVEL='DEBUG'
LOG_LEVEL=INFO
OLD_SETTING=1
WORKRES=1"""


@pytest.fixture(scope="module")
def source(snapshot: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The template at v0.1.0, and at v0.2.0 with a setting and a migration more."""
    folder = tmp_path_factory.mktemp("source") / "template"
    source = Project(make_repository(snapshot, folder, "v0.1.0"), {})
    replace(source, "includes/env.jinja", "\n# --- Database --", SETTING)
    config = source.path / "template/app/config/server.py"
    config.write_text(config.read_text() + FIELD)
    add_migration(source.path / "template", THEIR_FILE, THEIRS)
    source.commit("v0.2.0")
    source.run("git", "tag", "v0.2.0")
    return source


@pytest.fixture(scope="module")
def original(source: Project, template: Template) -> Project:
    """A service at v0.1.0, to be copied."""
    original = Template(source.path, template.copie).copy(vcs_ref="v0.1.0")
    original.commit()
    return original


@pytest.fixture(scope="module")
def project(original: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A service at v0.1.0 on which its owner has worked, and that has a database."""
    project = another(original, tmp_path_factory.mktemp("worked-on"))
    add_migration(project.path, OUR_FILE, OURS)
    project.sync()
    project.commit()
    project.run("api-admin", "db", "upgrade")
    env = re.sub(r"^(PORT|LOG_LEVEL)=.*\n", "", project.text(".env"), flags=re.M)
    (project.path / ".env").write_text(env + OWNERS_ENV)
    return project


@pytest.fixture(scope="module")
def message(project: Project) -> str:
    """What the terminal shows when the service was updated to v0.2.0."""
    updated = subprocess.run(
        [COPIER, "update", "--defaults"],
        cwd=project.path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    project.assert_no_conflicts()
    return updated.stdout + updated.stderr


def test_the_message_names_commands_that_work(project: Project, message: str) -> None:
    _, _, steps = message.partition("Updated. Next:\n\n")
    lines = [line.split("#")[0].strip() for line in steps.splitlines()]
    assert [line for line in lines if line] == [
        "uv run api-admin update --continue",
        "uv run api-admin env check --fix",
        "uv run api-admin db upgrade",
    ]
    assert steps.strip("\n") in PAGE
    assert max(map(len, message.splitlines())) <= 100
    assert "app/config/server.py" in project.run("git", "status", "--short")
    assert project.run("git", "diff", "--check") == ""


@pytest.mark.usefixtures("message")
def test_env_check_names_what_is_new_and_adds_it(project: Project) -> None:
    before = (project.path / ".env").read_bytes()

    new = (
        "- DRAIN_TIMEOUT is missing: How long a stopping service waits for its"
        " requests, in seconds, 1 to 3600. Default: 30\n"
    )
    found = refused(project, "api-admin", "env", "check")
    assert new in found
    assert new in PAGE
    assert "- WORKRES is no setting: did you mean WORKERS?\n" in found
    assert "- OLD_SETTING is no setting, or no longer one: remove it" in found
    assert "- LOG_LEVEL is set more than once" in found
    assert "api-admin env check --fix" in found

    fixed = refused(project, "api-admin", "env", "check", "--fix")
    assert "Added to .env: DRAIN_TIMEOUT\n" in fixed
    after = (project.path / ".env").read_bytes()
    addition = SETTING.removesuffix("\n# --- Database --").encode()
    assert after == before + b"\n" + addition

    assert new not in refused(project, "api-admin", "env", "check", "--fix")
    assert (project.path / ".env").read_bytes() == after

    mended = re.sub(
        rb"^(OLD_SETTING|WORKRES|LOG_LEVEL='DEBUG').*\n", b"", after, flags=re.M
    )
    (project.path / ".env").write_bytes(mended)
    complete = project.run("api-admin", "env", "check")
    assert complete == ".env: complete and valid\n"


@pytest.mark.usefixtures("message")
def test_migrations_of_both_sides_are_joined_before_the_service_starts(
    project: Project, tmp_path: Path
) -> None:
    sides = f"{OURS} ({OUR_FILE}) and {THEIRS} ({THEIR_FILE})"
    settings = {"ENV_FILE": ".env.example", "SECRET_KEY": SECRET_KEY}
    for command in (["db", "upgrade"], ["serve"]):
        printed = refused(project, "api-admin", *command, **settings)
        *_, line = printed.splitlines()
        assert line == (
            f"Error: 2 migrations are the newest, {sides};"
            " join them with: api-admin db merge"
        )
    assert line in PAGE
    newest = f"Newest: {OURS}, {THEIRS}, not merged. Run: api-admin db merge\n"
    assert newest in project.run("api-admin", "db", "current", **settings)

    merged = project.run("api-admin", "db", "merge", **settings)
    written = re.match(r"Wrote (app/migrations/versions/\S+_merge_\S+\.py),", merged)
    assert written
    project.run("ruff", "check", "--quiet", written[1])
    assert f"From revision {OURS} to " in project.run(
        "api-admin", "db", "upgrade", **settings
    )
    with serving(project, **settings) as client:
        assert client.get("/readyz").status_code == 200

    # What the owner's CI does, on an empty database.
    empty = settings | {"DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/ci.db"}
    for command in (["upgrade"], ["downgrade", "base", "--yes"]):
        project.run("api-admin", "db", *command, **empty)


@pytest.mark.parametrize("row", CACHES, ids=row_id)
def test_what_a_switch_leaves_behind_in_env_stops_nothing_but_what_is_turned_on(
    template: Template, row: dict[str, Any]
) -> None:
    """Every setting that another variant has is known as one of a part."""
    project = template.render(**as_answers(row))
    names = env_names(project)
    (parts,) = re.findall(
        r"^PARTS = (\{.*?^\})", project.text("app/config/load.py"), re.M | re.S
    )
    gone = tuple(
        part
        for part in literal_eval(parts)
        if not any(name.startswith(part) for name in names)
    )
    for other in CACHES:
        for name in env_names(template.render(**as_answers(other))):
            assert name in names or name.startswith(gone), name


def env_names(project: Project) -> list[str]:
    return re.findall(r"^([A-Z_]+)=", project.text(".env.example"), re.M)


# Conflicts


@pytest.fixture(scope="module")
def conflict(
    source: Project, original: Project, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A service that an update left with a conflict."""
    project = another(original, tmp_path_factory.mktemp("conflict"))
    for folder in (project, source):
        template = "" if folder is project else "template/"
        size = f"MAX_BODY_SIZE = {9 if folder is project else 8}_000_000"
        replace(folder, f"{template}app/main.py", "MAX_BODY_SIZE = 16_384", size)
        folder.commit("another size")
    copier = [str(COPIER), "update", "--defaults", "--quiet", "--vcs-ref=HEAD"]
    subprocess.run(copier, cwd=project.path, env=clean_environment(), check=True)
    unmerged = project.run("git", "diff", "--name-only", "--diff-filter=U")
    assert unmerged == "app/main.py\n"
    return project


def test_conflicts_are_found_refused_before_a_commit_and_in_ci(
    conflict: Project, tmp_path: Path
) -> None:
    check = refused(conflict, "git", "diff", "--check")
    assert re.search(r"^app/main\.py:\d+: leftover conflict marker$", check, re.M)

    (conflict.path / "app/main.py.rej").write_text("@@ -1 +1 @@\n")
    conflict.run("git", "add", "--all")
    hooks = ["uvx", "--quiet", "pre-commit@4.6", "run", "--all-files"]
    environment = {
        "PRE_COMMIT_HOME": str(tmp_path),
        "SKIP": "ruff-check,ruff-format,mypy",
    }
    printed = refused(conflict, *hooks, **environment)
    assert "app/main.py:" in printed
    assert "Merge conflict string '<<<<<<<' found" in printed
    assert printed.endswith("Skipped\n")
    assert "make them again before you remove it\n\napp/main.py.rej\n" in printed
    ci = step(conflict, "ci.yml", "No conflict is left of an update")
    assert "app/main.py:" in refused(conflict, "bash", "-ec", ci)

    conflict.run("git", "checkout", "HEAD", "--", "app/main.py")
    assert refused(conflict, "bash", "-ec", ci) == "app/main.py.rej\n"
    assert "Merge conflict" not in refused(conflict, *hooks, **environment)

    conflict.run("git", "rm", "--quiet", "--force", "app/main.py.rej")
    conflict.run(*hooks, **environment)
    assert conflict.run("bash", "-ec", ci) == ""


def another(original: Project, folder: Path) -> Project:
    return Project(shutil.copytree(original.path, folder / "service"), {})


def step(project: Project, workflow: str, name: str) -> str:
    """The shell text of a workflow's step whose name begins so."""
    jobs = yaml.safe_load(project.text(f".github/workflows/{workflow}"))["jobs"]
    (text,) = [
        str(step["run"])
        for job in jobs.values()
        for step in job["steps"]
        if step.get("name", "").startswith(name)
    ]
    return text


def add_migration(root: Path, name: str, revision: str) -> None:
    text = MIGRATION.format(revision=revision, table=f"things_{revision}")
    (root / "app/migrations/versions" / name).write_text(text)


def replace(project: Project, name: str, old: str, new: str) -> None:
    text = project.text(name)
    assert text.count(old) == 1, f"{name}: {old}"
    (project.path / name).write_text(text.replace(old, new))


def refused(project: Project, *command: str, **environment: str) -> str:
    """Run a command that has to end with 1 or 2, and return what it printed."""
    with pytest.raises(AssertionError, match=r": exit [12]\n") as failed:
        project.run(*command, **environment)
    return re.split(r": exit [12]\n", str(failed.value), maxsplit=1)[1]
