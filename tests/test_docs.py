"""The documentation: it builds, and what it says is there."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tables
from harness import ROOT, Project, Template, clean_environment

PAGES = tables.pages()
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.fixture(scope="session")
def service(template: Template) -> Project:
    """A service of the variant that has everything, with its environment."""
    project = template.render(**tables.LARGEST)
    project.sync("--no-dev")
    return project


@pytest.fixture(scope="session")
def facts(service: Project) -> tables.Facts:
    return tables.facts(service)


def test_tables_are_those_of_the_template(facts: tables.Facts) -> None:
    fresh = tables.all_tables(facts)
    stale = [
        page.name
        for page in PAGES
        if tables.filled(page.read_text(), fresh) != page.read_text()
    ]
    assert not stale, "run: uv run python tests/tables.py"


def test_site_builds_without_warnings(tmp_path: Path) -> None:
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    built = subprocess.run(
        [Path(sys.executable).with_name("zensical"), "build", "--clean", "--strict"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert "No issues found" in built.stdout + built.stderr
    foreign = r'<(?:script|img)[^>]*src="?https?:|<link[^>]*stylesheet[^>]*https?:'
    for page in (ROOT / "docs").glob("*.md"):
        folder = "" if page.stem == "index" else page.stem
        assert (tmp_path / "site" / folder / "index.html").exists(), page.name
        html = (tmp_path / "site" / folder / "index.html").read_text()
        # The theme would load Mermaid from a content-delivery network.
        assert not re.search(f'{foreign}|class="?mermaid', html), page.name


def test_picture_is_the_same_in_light_and_dark() -> None:
    light, dark = (
        re.sub(r"#[0-9a-f]{6}", "", picture.read_text())
        for picture in sorted((ROOT / "docs/pictures").glob("request-*.svg"))
    )
    assert light == dark


def test_every_page_is_in_the_navigation() -> None:
    config = (ROOT / "zensical.toml").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f'"{page.name}"' in config


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_that_a_page_names_exist(page: Path, facts: tables.Facts) -> None:
    for words, options in _commands_in(page.read_text()):
        found = [
            command
            for command in facts.commands
            if words[: len(command["name"].split())] == command["name"].split()
        ]
        groups = {command["name"].split()[0] for command in facts.commands}
        assert found or not words or words in [[group] for group in groups], words
        allowed = {"--help", *(option for each in found for option in each["options"])}
        assert options <= allowed, f"{' '.join(words)}: {options - allowed}"


def _commands_in(text: str) -> Iterator[tuple[list[str], set[str]]]:
    """The words and the long options of each `api-admin …` in a Markdown text."""
    for line in re.findall(r"api-admin((?: +[^ `\n#|]+)*)", _code(text)):
        words = [word for word in line.split() if re.fullmatch(r"[a-z][a-z-]*", word)]
        yield words, set(re.findall(r"--[a-z-]+", line))


def _code(text: str) -> str:
    """The code of a Markdown text: its fenced blocks and its spans, a line each."""
    blocks = re.findall(r"^```[^\n`]*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", prose)])


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_files_that_a_page_names_exist(page: Path, service: Project) -> None:
    text = page.read_text()
    made = set(re.findall(r'title="(app/[^"]+)"', text))  # by the page's own blocks
    if page.name.startswith("coming-from-"):  # another template's are on the left
        text = re.sub(r"^\| .*? \| ", "", text, flags=re.MULTILINE)
    for name in set(re.findall(r"`(app/[^` ]*)`", text)) - made:
        rendered = name.removesuffix(".jinja")
        assert (service.path / rendered).exists(), name


def test_tree_in_the_readme_is_the_rendered_one(service: Project) -> None:
    picture = re.search(
        r"```\nmy-service/\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL
    )
    assert picture
    app = re.findall(r"^│   [├└]── (\S+)", picture[1], flags=re.MULTILINE)
    top = re.findall(r"^[├└]── (\S+)", picture[1], flags=re.MULTILINE)
    for name in [*(f"app/{name}" for name in app), *top]:
        assert (service.path / name).exists(), name
    folders = {f"{each.name}/" for each in (service.path / "app").glob("[a-z]*/")}
    assert folders == {name for name in app if name.endswith("/")}
