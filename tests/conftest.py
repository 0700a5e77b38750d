import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from copier._main import Worker
from jinja2 import Environment
from pytest_copie.plugin import Copie
from xdist.scheduler import LoadScopeScheduling

from harness import Template, take_snapshot

# Their tests belong to the services that they are added to.
collect_ignore = ["engine", "oracle", "owner", "service"]

# The modules whose tests share what is costly to make.
SHARING = (
    *("tests/faults/test_faults.py", "tests/test_after_update.py"),
    *("tests/test_update_command.py", "tests/test_weekly.py"),
)
# Those of which the tests of one variant do.
EACH_VARIANT = (
    *("tests/test_engine.py", "tests/test_oracle.py"),
    "tests/test_variants.py",
)


class Grouped(LoadScopeScheduling):  # type: ignore[misc]
    """Tests that share an installed service or a run of faults stay in one process.

    `--dist loadgroup` would do it, but xdist 3.8 loses the groups with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        module, _, test = nodeid.partition("::")
        _, _, parameter = test.partition("[")
        if module in SHARING:
            return module
        if module in EACH_VARIANT and parameter:
            return f"{module} {parameter}"
        return nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Grouped:
    return Grouped(config, log)


# What takes minutes begins first, so that no process ends up alone with it.
LONG = (*EACH_VARIANT, *SHARING, "tests/test_updates.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        in_ci = item.get_closest_marker("in_ci")
        variant = item.name.partition("[")[2]
        if in_ci and not variant.startswith(in_ci.args):
            item.add_marker(pytest.mark.nightly)

    def place(item: pytest.Item) -> int:
        module = item.nodeid.partition("::")[0]
        return LONG.index(module) if module in LONG else len(LONG)

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No settings of the person who runs the tests reach Copier, git or a service."""
    home = tmp_path_factory.mktemp("isolated")
    (home / "copier.yml").write_text("{}\n")
    (home / "gitconfig").write_text(
        "[user]\nname = Ann\nemail = ann@example.com\n[commit]\ngpgsign = false\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COPIER_SETTINGS_PATH", str(home / "copier.yml"))
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        patch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
        yield


@pytest.fixture(scope="session", autouse=True)
def no_git_for_each_file() -> Iterator[None]:
    """Copier starts git for every file that it writes: almost half of a render's time.

    It asks whether git ignores the modes of files, and does nothing if not. It does so
    on Windows; elsewhere the answer is known. Copier's own processes still ask.
    """
    with pytest.MonkeyPatch.context() as patch:
        method = "_sync_git_index_executable_bit"
        patch.setattr(Worker, method, lambda *_: None, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def each_path_compiled_once() -> Iterator[None]:
    """Copier compiles every part of every path anew: two fifths of an update's time.

    The rest is compiled as ever: Jinja works constants out then, random ones, too.
    """
    compiled: dict[Any, Any] = {}
    compile_ = Environment.compile

    def once(self: Environment, source: Any, *arguments: Any, **named: Any) -> Any:
        if arguments or named or not isinstance(source, str) or "random" in source:
            return compile_(self, source, *arguments, **named)
        about = type(self), source, self.block_start_string, *sorted(self.extensions)
        if about not in compiled:
            compiled[about] = compile_(self, source)
        return compiled[about]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Environment, "compile", once)
        yield


@pytest.fixture(scope="session")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working tree's template, without a repository around it."""
    return take_snapshot(tmp_path_factory.mktemp("snapshot") / "template")


@pytest.fixture(scope="session")
def template(snapshot: Path, copie_session: Copie) -> Template:
    logging.getLogger("plumbum.local").setLevel(logging.WARNING)
    return Template(snapshot, copie_session)


@pytest.fixture(scope="session")
def mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Most of what mypy looks at is the same in all variants."""
    return tmp_path_factory.mktemp("mypy")
