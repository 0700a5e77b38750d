"""The two commands of the README, as they stand there."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from harness import ROOT, Project, clean_environment, make_repository
from serving import free_port, wait_until_ready, walk

README = (ROOT / "README.md").read_text()
SERVE, TEST = re.findall(r"^python3 -m pip install .*$", README, flags=re.MULTILINE)


def test_ci_runs_the_test_command() -> None:
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == TEST


@pytest.mark.fast
@pytest.mark.parametrize("page", ["README.md", "docs/start.md", "copier.yml"])
def test_uv_lock_is_there_for_the_first_commit(page: str) -> None:
    text = (ROOT / page).read_text()
    before = text[: text.index("git init ")]
    assert before.rstrip(" &\n").endswith("uv sync")


def test_first_command_ends_with_a_served_service(
    tmp_path: Path, snapshot: Path
) -> None:
    clone = make_repository(snapshot, tmp_path / "a clone", "v0.1.0")
    port = str(free_port())
    log = tmp_path / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            ["bash", "-c", SERVE],
            cwd=clone,
            env=clean_environment(PORT=port, PATH=newcomers_path()),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_until_ready(client, server)
            assert f"http://127.0.0.1:{port}/docs" in log.read_text()
            walk(client, Project(tmp_path / "my-service", {}))
    except BaseException as error:
        error.add_note(log.read_text())
        raise
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def newcomers_path() -> str:
    """PATH without this environment, whose python3 has no pip."""
    own = Path(sys.executable).parent
    folders = os.environ["PATH"].split(os.pathsep)
    path = os.pathsep.join(each for each in folders if Path(each) != own)
    assert shutil.which("python3", path=path)
    return path
