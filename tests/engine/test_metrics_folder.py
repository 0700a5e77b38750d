"""Where the processes of a service write their numbers."""

import subprocess
import sys
from pathlib import Path

from app.metrics.folder import FOLDERS, ROOM

JOIN = "from app.metrics.folder import join; print(join())"
# A disk without room for half of a file, as far as this process can tell.
FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2**19, 2**19));"


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_is_left_of_an_older_run(tmp_path: Path) -> None:
    first = Path(run(JOIN, tmp_path).stdout.strip())
    assert first.exists()
    second = Path(run(JOIN, tmp_path).stdout.strip())
    assert second.exists()
    assert not first.exists()


def test_a_file_has_its_room_on_the_disk_before_it_is_mapped(tmp_path: Path) -> None:
    folder = Path(run(JOIN, tmp_path).stdout.strip())
    files = list(folder.iterdir())
    assert {file.name.partition("_")[0] for file in files} == {
        *("counter", "gauge", "histogram", "summary")
    }
    for file in files:
        assert file.stat().st_size == ROOM
        assert file.stat().st_blocks * 512 >= ROOM, f"{file.name} has holes"


def test_a_full_disk_is_found_before_a_file_is_mapped(tmp_path: Path) -> None:
    ended = run(FULL + JOIN, tmp_path)
    assert ended.returncode == 1
    assert "File too large" in ended.stderr
    assert not list((tmp_path / FOLDERS).glob("*/*.db"))
