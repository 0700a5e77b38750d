"""The weekly workflow: an update as a pull request, or its conflicts as an issue.

The steps' own shell text runs, on a real template and a real repository; only GitHub,
which `gh` talks to, is a stand-in.
"""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import Project, Template, clean_environment, make_repository
from test_after_update import another, replace, step

pytestmark = pytest.mark.skipif(
    shutil.which("jq") is None, reason="GitHub's runners have jq"
)

Issue = dict[str, Any]

DEPENDENCY = '"pydantic>=2.14"'

# Stands in for GitHub: answers lists, and writes down what else it is told.
GH = """#!/bin/sh
case "$1 $2" in
"pr list" | "issue list")
    for last; do :; done
    jq "$last" "$GH_STATE/$1"
    exit ;;
"$GH_REFUSES") exit 1 ;;
esac
printf '%s\\n' "$*" | sed "s,/[^ ]*/tmp[^ ]*,BODY," >> "$GH_STATE/calls"
while [ $# -gt 0 ]; do
    if [ "$1" = --body-file ]; then cp "$2" "$GH_STATE/body"; fi
    shift
done
"""

TITLE = "Update to version 0.2.0 of the template"
OTHER = {"number": 4, "state": "OPEN", "title": "Out of the template"}
OLDER = {"number": 3, "state": "OPEN", "title": TITLE.replace("0.2.0", "0.1.1")}
CLOSED = {"number": 5, "state": "CLOSED", "title": TITLE}
STRANGER = CLOSED | {"isCrossRepository": True}
PULL = {"number": 7, "state": "OPEN", "title": TITLE, "isCrossRepository": False}

STARTED = "workflow run ci.yml --ref template-update"


@dataclass
class Weekly:
    """A checkout, as GitHub's runner has it, in which the workflow's steps run."""

    service: Project
    state: Path  # of GitHub, of what its stand-in was told, and of the runner

    @classmethod
    def of(cls, owners: Project, folder: Path) -> "Weekly":
        owners.run("git", "clone", "--quiet", "--bare", ".", str(folder / "origin"))
        state = folder / "state"
        state.mkdir()
        (state / "gh").write_text(GH)
        (state / "gh").chmod(0o755)
        owners.run(
            *("git", "clone", "--quiet", "--depth=1"),
            *(f"file://{folder}/origin", str(folder / "checkout")),
        )
        return cls(Project(folder / "checkout", {}), state)

    def copied(self, folder: Path) -> "Weekly":
        shutil.copytree(self.service.path.parent, folder, dirs_exist_ok=True)
        copy = Weekly(Project(folder / "checkout", {}), folder / "state")
        copy.service.run("git", "remote", "set-url", "origin", f"{folder}/origin")
        return copy

    def do(self, name: str, **environment: str) -> int:
        """Run a step of the workflow's own text; return its exit code."""
        path = f"{self.state}{os.pathsep}{clean_environment()['PATH']}"
        return subprocess.run(
            ["bash", "-e", "-c", step(self.service, "template.yml", name)],
            cwd=self.service.path,
            env=clean_environment(
                PATH=path,
                GH_STATE=str(self.state),
                GITHUB_STEP_SUMMARY=str(self.state / "summary"),
                GITHUB_OUTPUT=str(self.state / "output"),
                **environment,
            ),
            stdout=subprocess.DEVNULL,
            check=False,
        ).returncode

    def open(
        self,
        pulls: list[Issue] | None = None,
        issues: list[Issue] | None = None,
        *,
        refuses: str = "",
    ) -> list[str]:
        """Run the second step; return what `gh` was told to change."""
        (self.state / "pr").write_text(json.dumps(pulls or []))
        (self.state / "issue").write_text(json.dumps(issues or []))
        outputs = dict(line.split("=") for line in self.read("output").splitlines())
        assert outputs == {"current": "0.1.0", "latest": "0.2.0"}
        named = {name.upper(): value for name, value in outputs.items()}
        assert self.do("Open a pull request", GH_REFUSES=refuses, **named) == 0
        calls = self.read("calls").splitlines()
        return [call for call in calls if call != "auth setup-git"]

    def read(self, name: str) -> str:
        path = self.state / name
        return path.read_text() if path.exists() else ""

    def pushed(self) -> str:
        """What the pushed branch changes; nothing when there is none."""
        git = self.service.run
        if not git("git", "ls-remote", "origin", "template-update"):
            return ""
        git("git", "fetch", "--quiet", "origin", "template-update")
        return git("git", "diff", "main", "FETCH_HEAD")


@pytest.fixture(scope="module")
def source(snapshot: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A few files of the template at v0.1.0, and at v0.2.0 with another dependency."""
    whole = snapshot / "template"
    few = tmp_path_factory.mktemp("few") / "template"
    shutil.copytree(snapshot / "includes", few / "includes")
    shutil.copy(snapshot / "copier.yml", few)
    for folder in whole.glob("*github_ci*"):
        shutil.copytree(folder, few / "template" / folder.name)
    answers = "{{ _copier_conf.answers_file }}.jinja"
    for name in (".gitignore.jinja", "pyproject.toml.jinja", answers):
        shutil.copy(whole / name, few / "template")
    target = tmp_path_factory.mktemp("source") / "template"
    source = Project(make_repository(few, target, "v0.1.0"), {})
    metadata = "template/pyproject.toml.jinja"
    replace(source, metadata, DEPENDENCY, DEPENDENCY.replace("14", "13"))
    source.commit("v0.2.0")
    source.run("git", "tag", "v0.2.0")
    return source


@pytest.fixture(scope="module")
def original(source: Project, template: Template) -> Project:
    original = Template(source.path, template.copie).copy(vcs_ref="v0.1.0")
    original.run("uv", "lock", "--quiet")
    original.commit("Start")
    return original


@pytest.fixture(scope="module")
def merged(original: Project, tmp_path_factory: pytest.TempPathFactory) -> Weekly:
    """After the first step, with an update that conflicts with nothing."""
    weekly = Weekly.of(original, tmp_path_factory.mktemp("merged"))
    assert weekly.do("Update") == 0
    return weekly


@pytest.fixture(scope="module")
def conflicting(original: Project, tmp_path_factory: pytest.TempPathFactory) -> Weekly:
    folder = tmp_path_factory.mktemp("conflicting")
    service = another(original, folder)
    replace(service, "pyproject.toml", DEPENDENCY, DEPENDENCY.replace("14", "12"))
    service.commit("Another version")
    weekly = Weekly.of(service, folder)
    assert weekly.do("Update") == 0
    return weekly


def test_opens_a_pull_request(merged: Weekly, tmp_path: Path) -> None:
    weekly = merged.copied(tmp_path)
    assert weekly.open([STRANGER], [OTHER]) == [
        f"pr create --head template-update --title {TITLE} --body-file BODY",
        STARTED,
    ]
    assert "uv run api-admin update --continue\n" in weekly.read("body")
    diff = weekly.pushed()
    assert "+_commit: v0.2.0\n" in diff
    weekly.service.run("uv", "lock", "--check", "--quiet")


def test_renews_it_and_closes_the_issue(merged: Weekly, tmp_path: Path) -> None:
    weekly = merged.copied(tmp_path)
    weekly.open()
    (weekly.state / "calls").unlink()
    weekly.service.run("git", "switch", "--quiet", "main")
    (weekly.service.path / "new.txt").write_text("new\n")
    assert weekly.open(
        [PULL | {"number": 6, "state": "CLOSED", "title": "x"}, PULL], [OLDER]
    ) == [
        f"pr edit 7 --title {TITLE} --body-file BODY",
        "issue close 3 --comment There is a pull request for version 0.2.0.",
        STARTED,
    ]
    assert "+++ b/new.txt\n" in weekly.pushed()


def test_leaves_a_branch_that_somebody_has_worked_on(
    merged: Weekly, tmp_path: Path
) -> None:
    weekly = merged.copied(tmp_path)
    weekly.open()
    (weekly.state / "calls").unlink()
    git = weekly.service.run
    git("git", "commit", "--allow-empty", "-m", "Mine", "--author", "A <a@b.c>")
    git("git", "push", "--quiet", "origin", "template-update")
    before = git("git", "ls-remote", "origin")
    git("git", "switch", "--quiet", "main")
    (weekly.service.path / "new.txt").write_text("new\n")
    assert weekly.open([PULL]) == []
    assert git("git", "ls-remote", "origin") == before
    assert "has commits of somebody else" in weekly.read("summary")


@pytest.mark.parametrize("lists", [([CLOSED], []), ([], [CLOSED])])
def test_does_not_bring_up_again_what_was_closed(
    merged: Weekly, tmp_path: Path, lists: tuple[list[Issue], list[Issue]]
) -> None:
    weekly = merged.copied(tmp_path)
    assert weekly.open(*lists) == []
    assert weekly.pushed() == ""


def test_opens_an_issue_where_the_branch_cannot_be_pushed(
    merged: Weekly, tmp_path: Path
) -> None:
    """As GitHub has it for a branch that changes workflows."""
    weekly = merged.copied(tmp_path)
    hook = tmp_path / "origin/hooks/pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with (weekly.service.path / ".github/workflows/ci.yml").open("a") as file:
        file.write("# newer\n")
    assert weekly.open() == [f"issue create --title {TITLE} --body-file BODY"]
    assert "\n.github/workflows/ci.yml\n" in weekly.read("body")
    assert "`uv run api-admin update`" in weekly.read("body")


def test_opens_an_issue_where_workflows_may_open_no_pull_request(
    merged: Weekly, tmp_path: Path
) -> None:
    weekly = merged.copied(tmp_path)
    assert weekly.open(issues=[OLDER], refuses="pr create") == [
        f"issue edit 3 --title {TITLE} --body-file BODY"
    ]
    assert "The branch `template-update` has the update" in weekly.read("body")
    assert weekly.pushed()


def test_opens_an_issue_that_shows_the_conflicts(
    conflicting: Weekly, tmp_path: Path
) -> None:
    weekly = conflicting.copied(tmp_path)
    assert weekly.open([], [OLDER]) == [
        f"issue edit 3 --title {TITLE} --body-file BODY"
    ]
    assert weekly.pushed() == ""
    body = weekly.read("body")
    assert re.search(
        r"^\*\*`pyproject\.toml`\*\*\n\n~~~~~\n<<<<<<< before updating\n"
        r"    .*\n=======\n    .*\n>>>>>>> after updating\n~~~~~\n",
        body,
        re.M,
    )
    assert body.count("**`") == 1
    assert "`uv run api-admin update --continue` finishes it" in body


def test_says_so_when_there_is_no_newer_version(
    original: Project, tmp_path: Path
) -> None:
    service = another(original, tmp_path)
    replace(service, ".copier-answers.yml", "_commit: v0.1.0", "_commit: v0.2.0")
    service.commit()
    weekly = Weekly.of(service, tmp_path)
    assert weekly.do("Update") == 0
    assert weekly.read("output") == ""
    summary = "0.2.0 is the newest version of the template.\n"
    assert weekly.read("summary") == summary


def test_fails_when_the_template_is_gone(original: Project, tmp_path: Path) -> None:
    service = another(original, tmp_path)
    replace(service, ".copier-answers.yml", "_src_path: ", "_src_path: /gone")
    service.commit()
    weekly = Weekly.of(service, tmp_path)
    assert weekly.do("Update") == 1
    assert weekly.read("output") + weekly.read("summary") == ""
