"""Where the processes of a service write their numbers."""

import subprocess
import sys
from pathlib import Path

from prometheus_client.multiprocess import MultiProcessCollector

from app.metrics.numbers import FOLDERS, OUTSIDE, ROOM

COUNT = "from app.metrics.cache import count_outside; count_outside('command')"
JOIN = "from app.metrics.numbers import join; print(join())"
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
    assert not list((tmp_path / FOLDERS).glob("*/*"))


def test_a_command_counts_in_the_service_that_runs_in_its_folder(
    tmp_path: Path,
) -> None:
    assert not run(COUNT, tmp_path).stderr
    assert not (tmp_path / FOLDERS).exists()

    service = subprocess.Popen(
        [sys.executable, "-c", f"{JOIN}; input()"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with service:
        assert service.stdout is not None
        folder = Path(service.stdout.readline().strip())
        for _ in range(3):
            assert not run(COUNT, tmp_path).stderr
        (counted,) = MultiProcessCollector.merge([str(folder / OUTSIDE)])  # type: ignore[no-untyped-call]
        assert [(sample.labels, sample.value) for sample in counted.samples] == [
            ({"cause": "command"}, 3)
        ]
        service.communicate("\n")


def test_a_command_that_cannot_count_says_so_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / FOLDERS / "lock").mkdir(parents=True)
    ended = run(COUNT, tmp_path)
    assert ended.returncode == 0
    assert "/metrics does not count this" in ended.stderr
