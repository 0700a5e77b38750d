import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_copie.plugin import Copie
from xdist.scheduler import LoadScopeScheduling

from harness import Template, take_snapshot

collect_ignore = ["owner"]  # its tests belong to the services that they are added to

# The modules whose tests share what is costly to make.
SHARING = ("tests/faults/test_faults.py", "tests/test_after_update.py")


# Those whose parameter is a variant, which is installed once.
INSTALLING = ("tests/test_variants.py", "tests/test_oracle.py")


class Grouped(LoadScopeScheduling):  # type: ignore[misc]
    """Tests that share an installed service or a run of faults stay in one process.

    `--dist loadgroup` would do it, but xdist 3.8 loses the groups with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        module, _, test = nodeid.partition("::")
        name, _, parameter = test.partition("[")
        if module in SHARING:
            return module
        if module in INSTALLING and parameter:
            full = "full " if name.endswith("full_numbers") else ""
            return f"{module} {full}{parameter}"
        return nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Grouped:
    return Grouped(config, log)


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


@pytest.fixture(scope="session")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working tree's template, without a repository around it."""
    return take_snapshot(tmp_path_factory.mktemp("snapshot") / "template")


@pytest.fixture(scope="session")
def template(snapshot: Path, copie_session: Copie) -> Template:
    logging.getLogger("plumbum.local").setLevel(logging.WARNING)
    return Template(snapshot, copie_session)
