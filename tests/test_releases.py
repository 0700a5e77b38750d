"""What is kept of each release, and what would hurt those who update from it."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_copie.plugin import Copie

import owner
import release
from harness import ROOT, Project, Template
from release import Release, kept_releases
from test_after_update import step
from updating import Owner, contents, make_history

KEPT = kept_releases()
NOTE = "- *conflict likely*: `{}` is gone; what you had in it is in git.\n"


@pytest.fixture
def mutant(snapshot: Path, tmp_path: Path) -> Path:
    """The template, to be broken by the test."""
    return Path(shutil.copytree(snapshot, tmp_path / "mutant"))


@pytest.fixture(scope="module")
def small(snapshot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The questions and a few of the files: rendered in no time."""
    folder = tmp_path_factory.mktemp("small") / "template"
    (folder / "template/app").mkdir(parents=True)
    (folder / "includes").mkdir()
    shutil.copy(snapshot / "copier.yml", folder)
    shutil.copy(snapshot / "includes/env.jinja", folder / "includes")
    for name in (".env.jinja", ".gitignore.jinja", "app/errors.py", "app/openapi.py"):
        shutil.copy(snapshot / "template" / name, folder / "template" / name)
    answers = "template/{{ _copier_conf.answers_file }}.jinja"
    shutil.copy(snapshot / answers, folder / answers)
    return folder


@pytest.fixture
def small_mutant(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "small mutant"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


# The releases that are kept


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: kept.version)
def test_kept_release_renders_what_it_rendered_then(
    kept: Release, tmp_path: Path
) -> None:
    template = kept.unpack(tmp_path / "template")
    for name, then in kept.renders.items():
        now = release.digest(release.render(template, then["answers"]))
        assert now == then["digest"], name


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: kept.version)
def test_kept_release_is_what_its_tag_has(kept: Release, tmp_path: Path) -> None:
    """Where the clone has the tags."""
    tags = subprocess.run(
        ["git", "tag", "--list"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if kept.tag not in tags.stdout.split():
        pytest.skip(f"this clone has no tag {kept.tag}")
    tagged = release.committed(ROOT, kept.tag, tmp_path / "tagged")
    unpacked = kept.unpack(tmp_path / "kept")
    assert contents(Project(unpacked, {})) == contents(Project(tagged, {}))


def test_workflow_tags_what_is_kept(tmp_path: Path) -> None:
    """A release whose tag was not pushed is no version for Copier."""
    origin, work = tmp_path / "origin", tmp_path / "work"
    clone = ("git", "clone", "--quiet")
    subprocess.run([*clone, "--bare", ROOT, origin], check=True)
    subprocess.run([*clone, "--no-tags", origin, work], check=True)
    repository = Project(work, {})
    for kept in KEPT:
        repository.run("git", "push", "--quiet", "origin", f":refs/tags/{kept.tag}")
    program = step(Project(ROOT, {}), "release.yml", "Tag what is kept")

    printed = repository.run("bash", "-eo", "pipefail", "-c", program)

    assert [line.split()[0] for line in printed.splitlines()] == [
        kept.tag for kept in KEPT
    ]
    for kept in KEPT:
        tagged = release.committed(origin, kept.tag, tmp_path / kept.tag)
        unpacked = kept.unpack(tmp_path / f"kept-{kept.version}")
        assert contents(Project(unpacked, {})) == contents(Project(tagged, {}))
    assert repository.run("bash", "-eo", "pipefail", "-c", program) == ""


def test_every_tag_of_a_version_is_kept() -> None:
    tags = subprocess.run(
        ["git", "tag", "--list", "v*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(tags.stdout.split()) <= {kept.tag for kept in KEPT}


def test_keeping_a_template_twice_gives_the_same_bytes(
    small: Path, tmp_path: Path
) -> None:
    kept = [release.keep(tmp_path / name, "9.0.0", "-", small) for name in ("a", "b")]
    assert len({each.archive.read_bytes() for each in kept}) == 1
    assert len({each.facts.read_text() for each in kept}) == 1


# The next one


def test_nothing_stands_against_the_next_release() -> None:
    found = release.against_the_newest(ROOT)
    assert not found, "\n".join(found)


def test_a_renamed_question_is_refused(small: Path, small_mutant: Path) -> None:
    rename_question(small_mutant)
    (found, *_) = release.question_refusals(small, small_mutant, "`cache_backend`")
    assert "The question cache_backend is gone" in found
    assert "Keep the name" in found


def test_an_answer_that_is_gone_is_refused(small: Path, small_mutant: Path) -> None:
    edit(small_mutant / "copier.yml", 'share it": redis', 'share it": valkey')
    (found,) = release.question_refusals(small, small_mutant, "`cache_backend`")
    assert "The answer redis to cache_backend is gone" in found


@pytest.mark.parametrize("what", ["default", "type", "when"])
def test_a_changed_default_is_refused_unless_it_is_told(
    small: Path, small_mutant: Path, what: str
) -> None:
    config: dict[str, Any] = yaml.safe_load(
        (small_mutant / "copier.yml").read_text("utf-8")
    )
    config["docker"][what] = False if what != "type" else "str"
    (small_mutant / "copier.yml").write_text(yaml.safe_dump(config, sort_keys=False))
    (found,) = release.question_refusals(small, small_mutant, "")
    assert f"The {what} of the question docker was" in found
    assert "CHANGELOG.md" in found
    assert not list(release.question_refusals(small, small_mutant, "`docker`"))


@pytest.mark.parametrize("to", [None, "gate.py"])
def test_a_removed_or_renamed_file_is_refused_unless_it_is_told(
    small: Path, small_mutant: Path, to: str | None
) -> None:
    file = small_mutant / "template/app/openapi.py"
    if to is None:
        file.unlink()
    else:
        file.rename(file.with_name(to))
    (found,) = release.refusals(small, small_mutant, "")
    assert found.startswith("app/openapi.py is not rendered any more (postgresql-memo")
    assert "names `app/openapi.py`" in found
    changelog = "## Unreleased\n\n" + NOTE.format("app/openapi.py") + "\n## 0.1.0 (x)\n"
    told = release.notes_since(changelog, "0.1.0")
    assert not release.refusals(small, small_mutant, told)


def test_a_note_is_one_that_is_newer_and_tells_of_a_conflict() -> None:
    changelog = (
        "## Unreleased\n\n- *automatic*: `a` is\n  new.\n- *action needed*: `b`\n  x\n"
        "\n## 0.2.0 (2027-01-01)\n\n- *conflict likely*: `c`\n"
        "\n## 0.1.0 (2026-11-22)\n\n- *conflict likely*: `d`\n"
    )
    told = release.notes_since(changelog, "0.1.0")
    assert told == "*action needed*: `b` x\n*conflict likely*: `c`"


def test_an_entry_says_what_an_update_does() -> None:
    changelog = "## Unreleased\n\n- *automatic*: a\n- b\n\n## 0.1.0 (x)\n\n- c\n"
    assert release.unlabelled(changelog) == ["b"]


def test_env_that_would_be_overwritten_is_refused(
    small: Path, small_mutant: Path
) -> None:
    overwrite_env(small_mutant)
    (found,) = release.question_refusals(small, small_mutant, "")
    assert found.startswith(".env is not in _skip_if_exists any more")


# The tool


@pytest.fixture
def clone(small: Path, tmp_path: Path) -> Project:
    """A repository with one release, and a change since then."""
    path = Path(shutil.copytree(small, tmp_path / "clone"))
    for name in ("pyproject.toml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, path)
    (path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## Unreleased\n\n- *automatic*: x\n\n## 0.1.0 (2026-11-22)\n"
    )
    shutil.copytree(ROOT / "tests" / "releases", path / "tests" / "releases")
    clone = Project(path, {})
    clone.commit("work")
    return clone


def test_release_dates_the_changelog_keeps_the_template_and_tags(
    clone: Project, tmp_path: Path
) -> None:
    commit = clone.run("git", "rev-parse", "HEAD").strip()
    newest = KEPT[-1].version.split(".")
    version = f"{newest[0]}.{int(newest[1]) + 1}.0"
    assert f"v{version}" in release.release(clone.path, version)
    assert f"## Unreleased\n\n## {version} (" in clone.text("CHANGELOG.md")
    assert f'version = "{version}"' in clone.text("pyproject.toml")
    kept = kept_releases(clone.path / "tests" / "releases")[-1]
    assert kept.version == version
    assert commit in kept.facts.read_text()
    tagged = release.committed(clone.path, f"v{version}", tmp_path / "tagged")
    unpacked = kept.unpack(tmp_path / "kept")
    assert contents(Project(unpacked, {})) == contents(Project(tagged, {}))
    assert not clone.run("git", "status", "--porcelain")


@pytest.mark.parametrize(
    ("version", "changelog", "reason"),
    [
        ("0.1", "- *automatic*: x", "no version like"),
        ("0.0.9", "- *automatic*: x", "not newer"),
        (KEPT[-1].version, "- *automatic*: x", "not newer"),
        ("99.0.0", "", "no entry"),
        (f"{KEPT[-1].version}1", "- *action needed*: x", "a small step"),
    ],
)
def test_release_is_refused(
    clone: Project, version: str, changelog: str, reason: str
) -> None:
    edit(clone.path / "CHANGELOG.md", "- *automatic*: x", changelog)
    clone.commit()
    with pytest.raises(SystemExit, match=reason):
        release.release(clone.path, version)


def test_release_is_of_a_commit(clone: Project) -> None:
    (clone.path / "copier.yml").touch()
    (clone.path / "new").write_text("x")
    with pytest.raises(SystemExit, match="not committed"):
        release.release(clone.path, "99.0.0")


def test_help_teaches() -> None:
    done = subprocess.run(
        [sys.executable, "tests/release.py", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "release.py 0.2.0" in done.stdout
    assert "*conflict likely*" in done.stdout


# What breaks updates turns their tests red: the checks of test_updates.py, on broken
# templates


def rename_question(template: Path) -> None:
    paths = sorted(template.rglob("*"), key=lambda path: -len(path.parts))
    for path in paths:
        if path.is_file():
            text = path.read_text("utf-8").replace("cache_backend", "cache_store")
            path.write_text(text, "utf-8")
        path.rename(path.with_name(path.name.replace("cache_backend", "cache_store")))


def put_random_value_into_a_committed_file(template: Path) -> None:
    with (template / "template/README.md.jinja").open("a") as file:
        file.write("\nBuild {{ 999999999999 | ans_random }}\n")


def render_an_unformatted_file(template: Path) -> None:
    edit(template / "template/app/openapi.py", "REF_TEMPLATE = ", "REF_TEMPLATE  =  ")


def overwrite_env(template: Path) -> None:
    edit(template / "copier.yml", '_skip_if_exists: [".env"]', "_skip_if_exists: []")


def add_where_owners_add(template: Path) -> None:
    edit(
        template / "template/app/resources/__init__.py",
        "(home, health, auth, api_key, user)",
        "(home, health, auth, api_key, user, home)",
    )


@pytest.mark.parametrize(
    ("mutate", "seen"),
    [
        (rename_question, "does not know the questions .*cache_backend"),
        (put_random_value_into_a_committed_file, r"something else .*README\.md"),
        pytest.param(
            *(render_an_unformatted_file, "Would reformat|would be reformatted"),
            marks=pytest.mark.nightly,
        ),
        pytest.param(*(overwrite_env, r"\.env has changed"), marks=pytest.mark.nightly),
        (add_where_owners_add, "unmerged"),
    ],
)
def test_a_template_that_breaks_updates_is_refused(
    mutant: Path, tmp_path: Path, copie_session: Copie, mutate: Any, seen: str
) -> None:
    mutate(mutant)
    with pytest.raises(AssertionError, match=seen):
        update_and_switch(mutant, tmp_path, copie_session)


def update_and_switch(template: Path, folder: Path, copie: Copie) -> None:
    """From the oldest release with Redis to this one, then to a cache in memory."""
    history = make_history(KEPT, template, folder / "history")
    ann = Owner(Template(history, copie), [owner.work])
    redis = {"cache_backend": "redis", "project_description": "Sells books."}
    project = ann.start(redis, KEPT[0].tag)
    project = ann.update(project, redis)
    ann.update(project, redis | {"cache_backend": "memory"}, ":current:")
