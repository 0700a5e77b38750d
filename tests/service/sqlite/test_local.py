"""A database file that nothing can be written to is named in one line.

Both checks are asked: the one of `api-admin` and the one of the service itself.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import Settings
from tests.environment import settings_from
from tests.service.modes import run_python

PREPARE = """
from app.config import get_settings
from app.database.local import prepare_local_database

with prepare_local_database(get_settings()):
    pass
"""
REQUIRE_READY = """
import asyncio

from app.config import get_settings
from app.database import Database
from app.database.migrate import require_ready

async def main():
    database = Database(get_settings())
    try:
        await require_ready(database)
    finally:
        await database.dispose()
        await asyncio.sleep(0.1)  # until the driver's thread has ended, or it complains


asyncio.run(main())
"""


def refusal(code: str) -> str:
    ended = run_python("-c", code)
    assert ended.returncode == 1, ended.stderr
    (line,) = ended.stderr.splitlines()
    return line


@pytest.fixture
def file(migrated_file: Path, tmp_path: Path) -> Iterator[Path]:
    """Yield the file of the process's database, in a folder of its own."""
    file = tmp_path / "data" / "app.db"
    file.parent.mkdir()
    file.write_bytes(migrated_file.read_bytes())
    with settings_from(DATABASE_URL=f"sqlite+aiosqlite:///{file}"):
        yield file
    file.parent.chmod(0o755)


@pytest.mark.usefixtures("file")
@pytest.mark.parametrize("code", [PREPARE, REQUIRE_READY])
def test_a_file_that_can_be_written_is_fine(code: str) -> None:
    ended = run_python("-c", code)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_read_only_file_is_refused(file: Path) -> None:
    file.chmod(0o444)

    assert refusal(PREPARE) == f"DATABASE_URL: {file} is not writable"
    line = f"The database cannot be written: {file} is read-only"
    assert refusal(REQUIRE_READY) == line


def test_a_read_only_folder_is_refused(file: Path) -> None:
    file.parent.chmod(0o555)

    assert refusal(PREPARE) == f"DATABASE_URL: {file.parent} is not writable"
    line = f"The database cannot be written: {file.parent} is read-only"
    assert refusal(REQUIRE_READY) == line


def test_a_folder_in_place_of_the_file_is_refused(file: Path) -> None:
    file.unlink()
    file.mkdir()

    line = refusal(REQUIRE_READY)
    assert str(file) in line
    assert "cannot be used: unable to open database file" in line


def test_a_file_that_is_missing_is_refused_with_what_makes_it(file: Path) -> None:
    file.unlink()

    line = f"The database file {file} does not exist; run: api-admin db upgrade"
    assert refusal(REQUIRE_READY) == line


def test_a_folder_is_made_unless_a_file_is_in_its_place(settings: Settings) -> None:
    taken = Path(settings.database_url.partition("///")[2])
    folder = taken.parent / "new" / "folder"
    with settings_from(DATABASE_URL=f"sqlite+aiosqlite:///{folder}/app.db"):
        assert run_python("-c", PREPARE).returncode == 0
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "app.db").stat().st_mode & 0o777 == 0o600

    with settings_from(DATABASE_URL=f"sqlite+aiosqlite:///{taken}/app.db"):
        assert f"cannot make the folder {taken}: " in refusal(PREPARE)
