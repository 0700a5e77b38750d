"""Updates a service as its owner would, and compares it with a fresh one.

The owner works in the service, runs his formatter, commits, and updates. The result has
to equal a fresh render that was then worked in alike: nothing of the template is
missing, nothing of the owner's is lost, nothing is left over, and no merge went astray.
"""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import Answers, Project, Template
from release import PARTS, Release

NEWEST = "v999.0.0"
"""The tag of the working tree in a history: newer than any release."""

Work = Callable[[Project], None]


def make_history(releases: Sequence[Release], snapshot: Path, target: Path) -> Path:
    """A repository with a tagged commit for each release, and one for the snapshot."""
    target.mkdir(parents=True)
    repository = Project(target, {})
    for release in releases:
        _clear(target)
        release.unpack(target)
        repository.commit(release.tag)
        repository.run("git", "tag", release.tag)
    _clear(target)
    shutil.copytree(snapshot, target, dirs_exist_ok=True)
    repository.commit(NEWEST)
    repository.run("git", "tag", NEWEST)
    return target


def _clear(target: Path) -> None:
    for path in (target / part for part in PARTS):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@dataclass
class Owner:
    """Somebody with services of one template, who does the same `work` in each."""

    template: Template
    work: Sequence[Work] = ()
    fresh: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def start(self, answers: Answers, version: str = NEWEST) -> Project:
        """Render a service, work in it, and commit all of it."""
        project = self._render(answers, version)
        assert_formatted(project)
        project.commit("Start")
        return project

    def update(
        self, project: Project, answers: Answers, version: str | None = None
    ) -> Project:
        """Update, look at the result, and commit it.

        Without a version it is the newest one, as for `copier update`. The answers are
        all that a fresh render is to have; only those that differ are given.
        """
        env = (project.path / ".env").read_bytes()
        changed = {
            name: answer
            for name, answer in answers.items()
            if project.answers.get(name) != answer
        }
        updated = self.template.update(project, version, **changed)
        assert (project.path / ".env").read_bytes() == env, ".env has changed"
        assert_same(contents(updated), self.expected(answers))
        assert_formatted(updated)
        updated.commit("Update")
        assert not updated.run("git", "status", "--porcelain")
        return updated

    def expected(self, answers: Answers) -> dict[str, bytes]:
        """What a fresh render of the working tree has, after the same work."""
        key = repr(sorted(answers.items()))
        if key not in self.fresh:
            self.fresh[key] = contents(self._render(answers, NEWEST))
        return self.fresh[key]

    def _render(self, answers: Answers, version: str) -> Project:
        project = self.template.copy(version, **answers)
        forgotten = answers.keys() - project.answers.keys()
        assert not forgotten, f"{version} does not know the questions {forgotten}"
        for work in self.work:
            work(project)
        return project


def assert_formatted(project: Project) -> None:
    """What the owner's formatter changes conflicts with what the template changes."""
    run = ["ruff", "format", "--check", "--no-cache", str(project.path)]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def contents(project: Project) -> dict[str, bytes]:
    """What each file holds, after its mode; nothing of `.env`, which is the owner's."""
    return {
        name: f"{(project.path / name).stat().st_mode:o} ".encode()
        + (content if name != ".env" else b"")
        for name, content in project.files().items()
    }


def assert_same(updated: dict[str, bytes], fresh: dict[str, bytes]) -> None:
    """The same files, bytes and modes, but for what `.env` holds."""
    missing = sorted(fresh.keys() - updated.keys())
    assert not missing, f"an update does not bring {missing}"
    left = sorted(updated.keys() - fresh.keys())
    assert not left, f"an update leaves {left}"
    different = [name for name in sorted(fresh) if updated[name] != fresh[name]]
    assert not different, f"an update gives something else than a render: {different}"
