"""Makes a release of the template, and refuses one that would hurt at the next update.

`tests/releases/` keeps every supported release: the template in `X.Y.Z.tar.xz`, and in
`X.Y.Z.json` its commit and, for each variant, the answers and the digest of its render.
The tests update services from each of them to the working tree.
"""

import argparse
import hashlib
import io
import json
import lzma
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import copier
import yaml
from packaging.version import Version

from harness import (
    ROOT,
    VARIANTS,
    Answers,
    Project,
    as_answers,
    rendered_files,
    take_snapshot,
)

PARTS = ("copier.yml", "includes", "template")

LABELS = ("automatic", "conflict likely", "action needed")
LABELLED = re.compile(rf"\*({'|'.join(LABELS)})\*: ")
UNRELEASED = "Unreleased"

HELP = """
The next release is checked against the newest one in tests/releases/. It is refused if
a question is renamed or removed, or an answer to it; and, without a note in
CHANGELOG.md, if a default has changed or a rendered file is removed or renamed. A note
is an entry that begins with *conflict likely* or *action needed* and names the question
or the file in backticks.

examples:
  uv run python tests/release.py --check    what would be refused, now
  uv run python tests/release.py 0.2.0      date the changelog's section, keep the
                                            template in tests/releases/, commit, tag

Then: git push --follow-tags. `copier update` picks the newest tag.
"""


@dataclass(frozen=True)
class Release:
    """One that is kept: a template to render, and what was rendered from it then."""

    folder: Path
    version: str

    @property
    def tag(self) -> str:
        return f"v{self.version}"

    @property
    def archive(self) -> Path:
        return self.folder / f"{self.version}.tar.xz"

    @property
    def facts(self) -> Path:
        return self.folder / f"{self.version}.json"

    @property
    def renders(self) -> dict[str, dict[str, Any]]:
        """For each variant: the `answers`, and the `digest` of what they gave."""
        renders: dict[str, dict[str, Any]] = json.loads(self.facts.read_text())[
            "renders"
        ]
        return renders

    def unpack(self, target: Path) -> Path:
        with tarfile.open(self.archive) as archive:
            archive.extractall(target, filter="data")
        return target


def kept_releases(folder: Path = ROOT / "tests" / "releases") -> list[Release]:
    """All of them, the oldest first."""
    versions = [path.name.removesuffix(".tar.xz") for path in folder.glob("*.tar.xz")]
    return [Release(folder, version) for version in sorted(versions, key=Version)]


def keep(folder: Path, version: str, commit: str, template: Path) -> Release:
    """Keep a template as a release; the same template gives the same bytes."""
    release = Release(folder, version)
    folder.mkdir(exist_ok=True)
    release.archive.write_bytes(lzma.compress(_pack(template), preset=9))
    renders = {
        name: {"answers": answers, "digest": digest(render(template, answers))}
        for name, answers in variants().items()
    }
    facts = {"commit": commit, "renders": renders}
    release.facts.write_text(json.dumps(facts, indent=2) + "\n")
    return release


def variants() -> dict[str, Answers]:
    """Each cache with each database, and all optional parts."""
    return {
        f"{row['database']}-{row['cache']}": as_answers(
            {"database": row["database"], "cache": row["cache"]}
        )
        for row in VARIANTS
    }


def render(template: Path, answers: Answers) -> dict[str, bytes]:
    """The files of a new project, without those that differ each time."""
    with tempfile.TemporaryDirectory() as folder:
        copier.run_copy(
            str(template),
            folder,
            data=answers,
            defaults=True,
            quiet=True,
            settings=copier.Settings(),
        )
        files = Project(Path(folder), {}).files()
    return {name: files[name] for name in files if not name.startswith(".copier")} | {
        ".env": b""
    }


def digest(files: dict[str, bytes]) -> str:
    total = hashlib.sha256()
    for name, content in sorted(files.items()):
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


# What an update from the last release would do


def refusals(old: Path, new: Path, notes: str) -> list[str]:
    """What stands against releasing `new` after `old`, each with what to do.

    `notes` is what CHANGELOG.md says of conflicts and actions since then.
    """
    return [*question_refusals(old, new, notes), *file_refusals(old, new, notes)]


def question_refusals(old: Path, new: Path, notes: str) -> Iterator[str]:
    before, after = (
        yaml.safe_load((path / "copier.yml").read_text("utf-8")) for path in (old, new)
    )
    for name, spec in before.items():
        if name.startswith("_"):
            continue
        if name not in after:
            yield (
                f"The question {name} is gone. An update would forget its answer"
                " without a word, and take the default of what replaces it. Keep the"
                " name; its help may say anything."
            )
            continue
        for answer in dict(spec.get("choices", {})).values():
            if answer not in after[name].get("choices", {}).values():
                yield (
                    f"The answer {answer} to {name} is gone. Services that gave it"
                    " could not be updated. Keep it."
                )
        for what in ("type", "default", "when"):
            if spec.get(what) != after[name].get(what) and f"`{name}`" not in notes:
                yield (
                    f"The {what} of the question {name} was {spec.get(what)!r} and is"
                    f" {after[name].get(what)!r}: services that never answered it"
                    f" would change. Take it back, or {_note(name)}"
                )
    for name in before.get("_skip_if_exists", []):
        if name not in after.get("_skip_if_exists", []):
            yield (
                f"{name} is not in _skip_if_exists any more: an update would overwrite"
                " the owner's. Take it back."
            )


def file_refusals(old: Path, new: Path, notes: str) -> Iterator[str]:
    gone: dict[str, list[str]] = {}
    for variant, answers in variants().items():
        for name in render(old, answers).keys() - render(new, answers).keys():
            gone.setdefault(name, []).append(variant)
    for name, where in sorted(gone.items()):
        if f"`{name}`" not in notes:
            yield (
                f"{name} is not rendered any more ({', '.join(where)}). An update"
                " deletes it, also where its owner has edited it. Take it back, or"
                f" {_note(name)}"
            )


def _note(name: str) -> str:
    return (
        f"add an entry to CHANGELOG.md that begins with *conflict likely*: or *action"
        f" needed*: names `{name}`, and says what becomes of the owner's edits."
    )


# CHANGELOG.md


def entries(changelog: str, title: str) -> list[str]:
    """The items of one section, each in one line."""
    section = re.search(
        rf"^## {re.escape(title)}.*?\n(.*?)(?=^## |\Z)", changelog, re.M | re.S
    )
    items = re.split(r"^- ", section[1], flags=re.M)[1:] if section else []
    return [" ".join(item.split()) for item in items]


def notes_since(changelog: str, version: str) -> str:
    """The entries after a version that tell of a conflict or an action."""
    newer = changelog.split(f"\n## {version} ")[0]
    titles = re.findall(r"^## (\S+)", newer, re.M)
    told = [entry for title in titles for entry in entries(newer, title)]
    return "\n".join(e for e in told if not e.startswith("*automatic*"))


def unlabelled(changelog: str) -> list[str]:
    """The entries to be released that do not say what an update does with them."""
    return [e for e in entries(changelog, UNRELEASED) if not LABELLED.match(e)]


# The command


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="release.py",
        description=(__doc__ or "").split("\n\n")[0],
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("version", nargs="?", help="the new version, such as 0.2.0")
    parser.add_argument(
        "--check", action="store_true", help="only say what would be refused"
    )
    options = parser.parse_args(arguments)
    if options.check == bool(options.version):
        parser.error("give either a version or --check")
    if found := against_the_newest(ROOT):
        sys.exit("\n".join(f"- {line}" for line in found))
    if options.check:
        print("Nothing stands against a release.")
    else:
        print(release(ROOT, options.version))


def release(root: Path, version: str) -> str:
    """Date the changelog, keep the template, commit and tag; return what was done."""
    changelog = (root / "CHANGELOG.md").read_text("utf-8")
    if refused := _version_refusal(root, version, changelog):
        sys.exit(refused)
    commit = _git(root, "rev-parse", "HEAD").strip()
    today = datetime.now(UTC).date()
    dated = changelog.replace(
        f"## {UNRELEASED}\n", f"## {UNRELEASED}\n\n## {version} ({today})\n", 1
    )
    (root / "CHANGELOG.md").write_text(dated, "utf-8")
    project = (root / "pyproject.toml").read_text("utf-8")
    project = re.sub(
        r'^version = ".*"', f'version = "{version}"', project, count=1, flags=re.M
    )
    (root / "pyproject.toml").write_text(project, "utf-8")
    with tempfile.TemporaryDirectory() as folder:
        template = committed(root, "HEAD", Path(folder))
        kept = keep(root / "tests" / "releases", version, commit, template)
    _git(root, "add", "CHANGELOG.md", "pyproject.toml", "tests/releases")
    _git(root, "commit", "--quiet", "--message", f"Release {version}")
    _git(root, "tag", "--annotate", kept.tag, "--message", f"Release {version}")
    return f"Committed and tagged {kept.tag}. Now: git push --follow-tags"


def committed(root: Path, revision: str, target: Path) -> Path:
    """Extract the template of a commit."""
    command = ["git", "archive", "--format=tar", revision, *PARTS]
    done = subprocess.run(command, cwd=root, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(target, filter="data")
    return target


def _version_refusal(root: Path, version: str, changelog: str) -> str | None:
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        return f"{version} is no version like 0.2.0"
    newest = Version(kept_releases(root / "tests" / "releases")[-1].version)
    wanted = Version(version)
    if wanted <= newest:
        return f"{version} is not newer than {newest}"
    if _git(root, "status", "--porcelain"):
        return "There are changes that are not committed: a release is of a commit"
    told = entries(changelog, UNRELEASED)
    if not told:
        return f"CHANGELOG.md has no entry under {UNRELEASED}"
    action = any(entry.startswith("*action needed*") for entry in told)
    small = wanted.major == newest.major > 0 or (
        (wanted.major, wanted.minor) == (newest.major, newest.minor)
    )
    if action and small:
        return f"An entry of CHANGELOG.md needs an action: {version} is a small step"
    return None


def against_the_newest(root: Path) -> list[str]:
    changelog = (root / "CHANGELOG.md").read_text("utf-8")
    newest = kept_releases(root / "tests" / "releases")[-1]
    with tempfile.TemporaryDirectory() as folder:
        old = newest.unpack(Path(folder) / "old")
        new = take_snapshot(Path(folder) / "new")
        found = refusals(old, new, notes_since(changelog, newest.version))
    return found + [
        f"An entry of CHANGELOG.md does not begin with one of"
        f" {', '.join(f'*{label}*:' for label in LABELS)} {entry[:60]}…"
        for entry in unlabelled(changelog)
    ]


def _pack(template: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in rendered_files(template):
            info = tarfile.TarInfo(path.as_posix())
            content = (template / path).read_bytes()
            executable = (template / path).stat().st_mode & 0o100
            info.size, info.mode = len(content), 0o755 if executable else 0o644
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
    )
    return done.stdout


if __name__ == "__main__":
    main(sys.argv[1:])
