"""api-admin env check."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

import app
from app.config.load import setting_names
from tests.servers.service import Run
from tests.service.modes import run_python

FIX = ("env", "check", "--fix")
EXAMPLE = Path(app.__file__).parents[1] / ".env.example"


@pytest.fixture
def run(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Work in a folder that has an example and no .env yet."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ENV_FILE", ".env")
    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(EXAMPLE, folder)
    return folder


def problems(run: Run) -> list[str]:
    result = run("env", "check", "--json")
    found: list[str] = json.loads(result.stdout)
    assert result.exit_code == (1 if found else 0)
    return found


def test_the_example_has_every_setting(run: Run, folder: Path) -> None:
    (folder / ".env").touch()

    found = problems(run)
    assert [line.split()[0] for line in found] == _in_example()
    assert "PORT is missing: TCP port to listen on, 1 to 65535. Default: 8000" in found
    assert all(re.search(r" (Default: .+|No default\.)$", line) for line in found)
    assert set(_in_example()) >= set(setting_names())


def test_fix_makes_a_whole_file_that_only_its_owner_can_read(
    run: Run, folder: Path
) -> None:
    assert problems(run) == [".env does not exist"]

    assert run("env", "check", "--fix").exit_code == 0
    assert (folder / ".env").stat().st_mode & 0o077 == 0
    text = (folder / ".env").read_text()
    assert "replace-me" not in text
    assert "# Default: 8000\nPORT=8000\n" in text
    assert "complete and valid" in run("env", "check").stdout


def test_two_fixes_make_two_secrets(run: Run, folder: Path) -> None:
    secrets = set()
    for _ in range(2):
        run("env", "check", "--fix")
        lines = (folder / ".env").read_text().splitlines()
        secrets.add(next(line for line in lines if line.startswith("SECRET_KEY=")))
        (folder / ".env").unlink()

    assert len(secrets) == 2
    assert all(len(line) == len("SECRET_KEY=") + 64 for line in secrets)


@pytest.mark.parametrize(
    "existing",
    [
        b"PORT=8001",
        b"PORT=8001\n",
        b"# mine\r\nexport PORT=8001\r\nMINE='a # b'\r\n",
        b'\xef\xbb\xbfPORT = "8001" # why\n\n\nPORT=8002\n',
        b"port=8001\n#PORT=1\nLONG='two\nlines'",
        b"PORT=\nPORT='8001'\n# the end",
    ],
)
def test_fix_changes_no_line_that_is_there(
    run: Run, folder: Path, existing: bytes
) -> None:
    file = folder / ".env"
    file.write_bytes(existing)

    run("env", "check", "--fix")
    once = file.read_bytes()
    run("env", "check", "--fix")

    assert file.read_bytes() == once
    assert once.startswith(existing)
    added = once.removeprefix(existing)
    assert b"PORT=8000" not in added
    assert b"\nWORKERS=" in added
    assert (added.count(b"\r\n") == added.count(b"\n")) is (b"\r\n" in existing)
    assert not [line for line in problems(run) if " is missing" in line]


def test_finds_what_is_misspelled_unknown_double_or_invalid(
    run: Run, folder: Path
) -> None:
    run("env", "check", "--fix")
    with (folder / ".env").open("a") as file:
        file.write("\nDATABSE_URL=x\nMINE=1\nWORKERS=2\nPORT=99999\nPORT=99998\n")

    found = "\n".join(problems(run))
    assert "DATABSE_URL" in found
    assert "did you mean DATABASE_URL?" in found
    assert "MINE" in found
    assert "WORKERS is set more than once" in found
    assert "PORT='99998'" in found or "PORT=99998" in found
    assert "65535" in found


def test_never_shows_a_secret(run: Run, folder: Path) -> None:
    run("env", "check", "--fix")
    with (folder / ".env").open("a") as file:
        file.write("\nSECRET_KEY=hunter2\nSECRET_KEYS=hunter2\n")

    result = run("env", "check")
    assert result.exit_code == 1
    assert "hunter2" not in result.output


def test_an_open_quote_is_found_and_nothing_is_put_behind_it(
    run: Run, folder: Path
) -> None:
    (folder / ".env").write_text('PORT=8001\nMINE="open\n')

    assert ".env, line 2 cannot be read" in problems(run)
    result = run("env", "check", "--fix")
    assert result.exit_code == 1
    assert "line 2" in result.stderr
    assert (folder / ".env").read_text() == 'PORT=8001\nMINE="open\n'


@pytest.mark.parametrize("fix", [[], ["--fix"]])
def test_a_conflict_in_the_example_is_found_and_neither_side_is_added(
    run: Run, folder: Path, fix: list[str]
) -> None:
    run("env", "check", "--fix")
    before = (folder / ".env").read_bytes()
    with (folder / ".env.example").open("a") as file:
        file.write("\n{}\nOURS=1\n{}\nTHEIRS=1\n{}\n".format(*(7 * c for c in "<=>")))

    result = run("env", "check", *fix)

    assert result.exit_code == 1
    assert ".env.example, line " in result.output
    assert (folder / ".env").read_bytes() == before


@pytest.mark.usefixtures("run")
def test_a_read_only_file_is_refused_and_kept(folder: Path) -> None:
    file = folder / ".env"
    file.write_text("PORT=8001\n")
    file.chmod(0o444)

    ended = run_python("-c", "from app.commands import main; main()", *FIX)

    assert ended.returncode == 1
    assert ended.stderr == "Error: .env cannot be written: Permission denied\n"
    assert file.read_text() == "PORT=8001\n"


def test_a_folder_in_place_of_the_file_is_refused(run: Run, folder: Path) -> None:
    (folder / ".env").mkdir()

    result = run(*FIX)

    assert result.exit_code == 1
    assert result.stderr == "Error: .env cannot be written: Is a directory\n"


def test_what_is_no_text_is_refused_in_one_line(run: Run, folder: Path) -> None:
    (folder / ".env").write_bytes(b"\xff\xfe\x00")

    for arguments in (["--json"], ["--fix"]):
        result = run("env", "check", *arguments)
        assert result.exit_code == 1
        assert ".env cannot be read" in result.stderr


def _in_example() -> list[str]:
    lines = EXAMPLE.read_text().splitlines()
    return [line.partition("=")[0] for line in lines if line and line[0] != "#"]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such rights")
def test_finds_and_closes_what_others_can_read(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("env", "check", "--fix")
    monkeypatch.setenv("DATABASE_URL", "sqlite+aiosqlite:///data/app.db")
    (folder / "data").mkdir(0o755)
    names = [".env", "data", "data/app.db", "data/app.db-wal"]
    for name in names:
        if name != "data":
            (folder / name).touch()
        (folder / name).chmod(0o755 if name == "data" else 0o644)

    found = run("env", "check")
    assert (found.exit_code, found.stderr.count(".env")) == (0, 1)
    assert f"can read {', '.join(names)}: add --fix" in found.stderr

    assert ", ".join(names) in run("env", "check", "--fix").stderr
    for name in names:
        assert (folder / name).stat().st_mode & 0o777 in (0o600, 0o700), name
    assert run("env", "check").stderr == ""
