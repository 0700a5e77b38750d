"""The questions: their names are an interface, and no answer breaks a file."""

import ast
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from copier.errors import CopierError

from harness import CONFIG, QUESTIONS, Project, Template

pytestmark = pytest.mark.fast

# Renaming a question silently resets its answer in every project that is updated.
FROZEN = [
    "project_name",
    "project_slug",
    "project_description",
    "user_name",
    "user_email",
    "database",
    "enable_caching",
    "cache_backend",
    "rate_limit",
    "metrics",
    "admin_pages",
    "docker",
    "github_ci",
    "dependency_updates",
]
TEXTS = FROZEN[:5]


def test_names_and_order_of_the_questions_are_frozen() -> None:
    assert list(QUESTIONS) == FROZEN


def test_answers_to_choices_are_frozen() -> None:
    choices = {
        name: list(spec["choices"].values())
        for name, spec in QUESTIONS.items()
        if "choices" in spec
    }
    assert choices == {
        "database": ["sqlite", "postgresql"],
        "cache_backend": ["memory", "redis"],
        "dependency_updates": ["none", "dependabot", "renovate"],
    }


def test_defaults_are_frozen(template: Template) -> None:
    assert template.render().answers == {
        "project_name": "My Service",
        "project_slug": "my-service",
        "project_description": "A FastAPI service.",
        "user_name": "Your Name",
        "user_email": "you@example.com",
        "database": "sqlite",
        "enable_caching": True,
        "cache_backend": "memory",
        "rate_limit": True,
        "metrics": True,
        "admin_pages": True,
        "docker": True,
        "github_ci": True,
        "dependency_updates": "none",
    }


@pytest.mark.parametrize("name", QUESTIONS)
def test_question_has_help_and_default(name: str) -> None:
    spec = QUESTIONS[name]
    assert spec["help"]
    assert "default" in spec
    assert spec["type"] != "str" or "validator" in spec or "choices" in spec


def test_template_needs_no_trust_and_no_network() -> None:
    risky = {"_tasks", "_migrations", "_jinja_extensions", "_external_data"}
    assert not risky & CONFIG.keys()


@pytest.fixture(scope="session")
def questions_only(tmp_path_factory: pytest.TempPathFactory, snapshot: Path) -> Path:
    """The template's questions with nothing to render: validators run in no time."""
    folder = tmp_path_factory.mktemp("questions")
    (folder / "copier.yml").write_bytes((snapshot / "copier.yml").read_bytes())
    (folder / "template").mkdir()
    return folder


def ask(questions: Path, target: Path, **answers: Any) -> dict[str, Any]:
    worker = copier.run_copy(
        str(questions), target, data=answers, defaults=True, quiet=True
    )
    return dict(worker.answers.combined)


GOOD = {
    "project_name": [
        "X",
        "class",
        "Ann's Book Shop",
        "Käse & Brot: «gut»",
        "书店 📚",
        "{{ 7 * 7 }} {% raw %}",
        "${HOME} $(id) `id` %s {0}",
        "# [x]: *y* <b> | > - ! @",
        "n" * 60,
    ],
    "project_slug": ["a", "book-shop", "class", "a1-b2-3", "n" * 50],
    "project_description": ["Sells books.", "{{ x }} '${y}' # <z>", "d" * 200],
    "user_name": ["Ann", "Seán O'Brien (Ops) 📚", "{{ x }} ${y} #", "n" * 100],
    "user_email": ["a@b.co", "ann.o'brien+x@mail.example.com"],
}
BAD = {
    "project_name": {
        "": "Type a name",
        "   ": "Type a name",
        " Shop": "spaces before and after the name: Shop",
        "Shop ": "spaces before and after",
        'The "Shop"': "without double quotes",
        "C:\\shop": "backslashes",
        "two\nlines": "one line",
        "tab\tbed": "one line",
        "bell\a": "one line",
        "bi\u202edi": "one line",
        "line\u2028separator": "one line",
        "n" * 61: "at most 60 characters (these are 61)",
        "n" * 200: "at most 60",
    },
    "project_slug": {
        "": "Type a name like book-shop: a-z",
        "Shop": "Type a name like book-shop: a-z",
        "book_shop": "Type a name like book-shop: a-z",
        "book shop": "Type a name like book-shop: a-z",
        "-shop": "Type a name like book-shop: a-z",
        "shop-": "Type a name like book-shop: a-z",
        "a--b": "Type a name like book-shop: a-z",
        "1shop": "after a first letter",
        "käse": "Type a name like book-shop: a-z",
        "shop\n": "Type a name like book-shop: a-z",
        "{{ x }}": "Type a name like book-shop: a-z",
        "../x": "Type a name like book-shop: a-z",
        "n" * 51: "at most 50 characters (these are 51)",
        "fastapi": "Type another name",
    },
    "project_description": {
        "": "Type one sentence",
        " x": "spaces before and after",
        "two\nlines": "one line",
        'say "x"': "without double quotes",
        "a\\b": "backslashes",
        "d" * 201: "at most 200",
    },
    "user_name": {
        "": "Type your name",
        "Ann ": "spaces before and after",
        'Ann "A" Reader': "without any of these",
        "Reader, Ann": 'without any of these: " \\ < > , @',
        "Ann <ann@example.com>": 'without any of these: " \\ < > , @',
        "A\nB": "one line",
        "n" * 101: "at most 100",
    },
    "user_email": {
        "": "ann@example.com",
        "ann": "ann@example.com",
        "ann@localhost": "ann@example.com",
        "a b@example.com": "ann@example.com",
        "ann@example.com\n": "ann@example.com",
        'ann"@example.com': "ann@example.com",
        "Ann <ann@example.com>": "ann@example.com",
        "a" * 250 + "@b.co": "ann@example.com",
    },
}


def test_every_validator_has_good_and_bad_examples() -> None:
    validated = {name for name, spec in QUESTIONS.items() if "validator" in spec}
    assert validated == GOOD.keys() == BAD.keys()


@pytest.mark.parametrize(
    ("name", "answer"), [(name, good) for name in GOOD for good in GOOD[name]]
)
def test_good_answer_is_taken_as_it_is(
    questions_only: Path, tmp_path: Path, name: str, answer: str
) -> None:
    assert ask(questions_only, tmp_path, **{name: answer})[name] == answer


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [(name, bad, hint) for name in BAD for bad, hint in BAD[name].items()],
)
def test_bad_answer_is_refused_with_what_to_type(
    questions_only: Path, tmp_path: Path, name: str, answer: str, hint: str
) -> None:
    with pytest.raises((CopierError, ValueError), match="Validation error") as refused:
        ask(questions_only, tmp_path, **{name: answer})
    about, _, message = str(refused.value).partition(": ")
    assert name in about
    assert hint in message[:60]  # what a narrow terminal shows of it


@pytest.mark.parametrize("name", [n for n in QUESTIONS if "choices" in QUESTIONS[n]])
def test_answer_that_is_no_choice_is_refused(
    questions_only: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises((CopierError, ValueError), match="Invalid choice"):
        ask(questions_only, tmp_path, **{name: "oracle"})


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Book Shop", "book-shop"),
        ("Ann's Book_Shop, 2nd", "ann-s-book-shop-2nd"),
        ("Käse", "my-service"),  # better no name than a mutilated one
        ("2nd", "my-service"),
        ("📚", "my-service"),
        ("a b " * 15, None),
    ],
)
def test_default_slug_is_always_valid(
    questions_only: Path, tmp_path: Path, name: str, slug: str | None
) -> None:
    given = ask(questions_only, tmp_path, project_name=name.strip())["project_slug"]
    assert slug in {given, None}
    assert len(given) <= 50


def test_slug_is_none_of_the_service_s_dependencies(
    template: Template, questions_only: Path, tmp_path: Path
) -> None:
    """A project that depends on a package of its own name cannot be installed."""
    project = template.render(database="postgresql", cache_backend="redis")
    names = requirements(project) | requirements(template.render())
    for name in names:
        with pytest.raises((CopierError, ValueError), match="depends on a package"):
            ask(questions_only, tmp_path, project_slug=name)


def requirements(project: Project) -> set[str]:
    data = tomllib.loads(project.text("pyproject.toml"))
    texts = data["project"]["dependencies"] + data["dependency-groups"]["dev"]
    return {text.split(">=")[0].split("[")[0] for text in texts}


def test_questions_about_what_was_not_chosen_are_not_asked(template: Template) -> None:
    """Then a later `enable_caching=true` starts with the default backend."""
    project = template.render(enable_caching=False)
    assert "cache_backend" not in project.answers


def test_backend_without_caching_changes_nothing(template: Template) -> None:
    plain = template.copy(enable_caching=False).files()
    odd = template.copy(enable_caching=False, cache_backend="redis").files()
    assert plain.keys() == odd.keys()
    assert {name for name in plain if plain[name] != odd[name]} <= {".env"}


HOSTILE = [
    *GOOD["project_name"],
    "None",
    "True",
    "null",
    "1.0",
    "~",
    "'",
    "''' + 1 + '''",
    "- a",
    "a: b # c",
    "key: [1, {",
    "--- |",
    "%YAML &x *y !z",
    "<!-- <script> ]]>",
    "a\u00a0b",
    "👩\u200d💻",
    'x" + y + "',
    "\\",
    "x\\",
    "{{ config }} {% include 'x' %} {# y #}",
    "$$ ${SECRET_KEY} %(x)s",
    *(length * "é" for length in (72, 73, 80, 82, 83, 200)),  # about a line's end
]


@pytest.fixture(scope="session")
def jinja_only(
    template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Template:
    """The template without the files that are copied as they are."""
    folder = tmp_path_factory.mktemp("jinja-only") / "template"

    def plain(parent: str, names: list[str]) -> list[str]:
        files = [name for name in names if (Path(parent) / name).is_file()]
        kept = (".jinja", "copier.yml")
        return [name for name in files if not name.endswith(kept)]

    shutil.copytree(template.path, folder, ignore=plain)
    return Template(folder, template.copie)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_renders_valid_files_or_is_refused(
    jinja_only: Template, questions_only: Path, tmp_path: Path, text: str
) -> None:
    taken = {}
    for name in TEXTS:
        try:
            ask(questions_only, tmp_path, **{name: text})
        except (CopierError, ValueError) as refused:
            assert "Type " in str(refused) or "Leave out" in str(refused)  # noqa: PT017
        else:
            taken[name] = text
    if not taken:
        return
    project = jinja_only.copy(**taken)
    assert_parses(project)
    assert_contains(project, taken)
    # What it imports is not there, so ruff cannot sort its imports.
    for arguments in (["check", "--ignore=I"], ["format", "--check"]):
        run = ["ruff", *arguments, "--no-cache", "--quiet", str(project.path)]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def assert_parses(project: Project) -> None:
    """All files are valid in their language, and what was rendered is all there."""
    for name, content in project.files().items():
        text = content.decode()
        if name.endswith(".py"):
            compile(text, name, "exec")
        elif name.endswith(".toml"):
            tomllib.loads(text)
        elif name.endswith((".yml", ".yaml")):
            yaml.safe_load(text)


def assert_contains(project: Project, answers: dict[str, str]) -> None:
    """The answers arrive unchanged where they are values."""
    answered = yaml.safe_load(project.text(".copier-answers.yml"))
    metadata = tomllib.loads(project.text("pyproject.toml"))["project"]
    settings = ast.parse(project.text("app/config/parts.py"))
    constants = {n.value for n in ast.walk(settings) if isinstance(n, ast.Constant)}
    for name, answer in answers.items():
        assert answered[name] == answer
    for name in answers.keys() & {"project_name", "project_description"}:
        assert answers[name] in constants
    if "project_description" in answers:
        assert metadata["description"] == answers["project_description"]
    if "user_name" in answers:
        assert metadata["authors"][0]["name"] == answers["user_name"]


def test_copy_by_the_command_line_needs_no_trust(
    snapshot: Path, tmp_path: Path
) -> None:
    target = tmp_path / "with space"
    done = subprocess.run(
        ["copier", "copy", "--defaults", str(snapshot), str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f'cd "{target}"' in done.stderr
    assert "uv run api-admin serve" in done.stderr
    assert (target / ".copier-answers.yml").exists()
