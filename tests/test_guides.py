"""AGENTS.md of a service, and CONTRIBUTING.md of the template: short, and true."""

import re
from pathlib import Path
from typing import Any

import pytest

from harness import ROOT, ROWS, Project, Template, as_answers, row_id

pytestmark = pytest.mark.fast

LIMIT = 60
"""Lines that are read before anything is done."""


def names(text: str, folders: str) -> list[str]:
    """The files and folders below `folders` that a text names."""
    return re.findall(rf"(?<![\w/.])(?:{folders})/[\w./]*\w/?", text)


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_agents_are_told_of_what_is_there(
    template: Template, row: dict[str, Any]
) -> None:
    project = template.render(**as_answers(row))
    text = project.text("AGENTS.md")
    assert len(text.splitlines()) <= LIMIT
    found = names(text, "app|tests")
    assert len(found) > 10
    for name in [*found, "README.md", ".env", ".env.example", ".copier-answers.yml"]:
        assert (project.path / name).exists(), name
    for name in re.findall(r"`(\.?\w[\w.-]*\.(?:md|yml|toml))`", text):
        assert (project.path / name).is_file(), name
    assert ("## Cache\n" in text) == (row["cache"] != "none")
    assert ("cache" in text.lower()) == (row["cache"] != "none")


def test_what_agents_are_told_of_the_cache_is_offered_by_it(
    template: Template,
) -> None:
    project = template.render(cache_backend="memory")
    text = project.text("AGENTS.md")
    offered = project.text("app/cache/__init__.py")
    for name in ("cached", "shared_key_builder", "touches", "provider"):
        assert re.search(rf"[`=]@?{name}\b", text), name
        assert f'    "{name}",\n' in offered, name


def test_contributors_are_told_of_what_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert len(text.splitlines()) <= LIMIT
    service = Project(ROOT / "template", {})
    for name in names(text, "tests|template|docs|benchmarks|includes"):
        in_service = service.path / name
        assert (ROOT / name).exists() or in_service.exists(), name
    for name in names(text, "app"):
        whole = service.path / name
        assert whole.exists() or whole.with_name(f"{whole.name}.jinja").exists(), name


@pytest.mark.parametrize("option", ["-k", "-m"])
def test_contributors_are_told_of_tests_that_are_there(option: str) -> None:
    """What pytest is to choose by names something that there is."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    tests = "\n".join(
        path.read_text("utf-8") for path in Path(ROOT, "tests").glob("*.py")
    )
    ids = " ".join(map(row_id, ROWS))
    for chosen in re.findall(rf'pytest[^\n]* {option} ("[^"]+"|\w+)', text):
        for word in re.findall(r"\w[\w-]*", chosen):
            known = word in {"and", "not", "or"} or word in tests or word in ids
            assert known, word
