"""api-admin db."""

import json
from pathlib import Path

import httpx
import pytest
from sqlalchemy import make_url

from app.config import Settings
from app.database import migrate
from tests.environment import settings_from
from tests.servers.service import Run, refusal
from tests.service.migrations import HEAD, add_revision, add_table


def test_goes_back_and_forth(run: Run) -> None:
    (head,) = migrate.head_revisions()
    assert json.loads(run("db", "current", "--json").stdout) == {
        "revisions": [head],
        "heads": [head],
        "behind": False,
        "unknown": [],
    }

    assert "Nothing to do" in run("db", "upgrade").stdout
    assert (
        f"From revision {head} to none"
        in run("db", "downgrade", "base", "--yes").stdout
    )
    assert "behind" in run("db", "current").stdout
    assert f"From revision none to {head}" in run("db", "upgrade").stdout
    assert "up to date" in run("db", "current").stdout


def test_one_step_back_is_the_default_and_can_be_written(
    run: Run, migrations: Path
) -> None:
    add_table(migrations, "books")
    for arguments in ([], ["-1"]):
        run("db", "upgrade")
        assert run("db", "downgrade", *arguments, "--yes").exit_code == 0
        assert f"Revision: {HEAD}, behind" in run("db", "current").stdout


def test_two_newest_migrations_are_joined(run: Run, migrations: Path) -> None:
    for name in ("ours", "theirs"):
        add_table(migrations, name)

    for command in ("upgrade", "check"):
        result = run("db", command)
        assert result.exit_code == 1
        assert "join them with: api-admin db merge" in result.stderr
    assert run("db", "current").stdout == (
        f"Revision: {HEAD}\nNewest: ours, theirs, not merged. Run: api-admin db merge\n"
    )

    merged = run("db", "merge")
    assert "_merge_migrations.py, which follows ours and theirs" in merged.stdout
    assert "api-admin db upgrade" in merged.stderr
    (head,) = migrate.head_revisions()
    again = run("db", "merge").stdout
    assert again == f"Nothing to merge: the newest migration is {head}\n"
    upgraded = run("db", "upgrade").stdout
    assert upgraded == f"From revision {HEAD} to {head}\n"


def test_a_dry_run_names_the_migrations_and_runs_none(
    run: Run, migrations: Path
) -> None:
    assert run("db", "upgrade", "--dry-run").stdout == (
        f"Nothing to do: the revision is {HEAD}\n"
    )
    add_table(migrations, "books")
    add_revision(migrations, "pass", "later", after="books")

    for _ in range(2):
        assert run("db", "upgrade", "--dry-run").stdout == (
            "Would run 2 migrations:\n- books.py\n- later.py\n"
        )
    assert run("db", "upgrade", "books", "--dry-run").stdout == (
        "Would run 1 migration:\n- books.py\n"
    )
    add_table(migrations, "theirs")
    result = run("db", "upgrade", "--dry-run")
    assert result.exit_code == 1
    assert "join them with: api-admin db merge" in result.stderr


def test_two_newest_migrations_stop_other_commands(run: Run, migrations: Path) -> None:
    for name in ("ours", "theirs"):
        add_table(migrations, name)

    assert "api-admin db merge" in refusal(run("user", "list"))


def test_asks_before_it_drops_data(run: Run) -> None:
    result = run("db", "downgrade")

    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert "up to date" in run("db", "current").stdout


def test_names_the_database_without_its_password(run: Run, settings: Settings) -> None:
    url = make_url(settings.database_url)

    shown = run("db", "upgrade").stderr
    assert url.render_as_string(hide_password=True) in shown
    assert f":{url.password}@" not in shown


def test_refuses_an_unknown_revision(run: Run) -> None:
    result = run("db", "upgrade", "nonsense")

    assert result.exit_code == 1
    assert "nonsense" in result.stderr
    assert "Traceback" not in result.output


def test_says_what_to_do_with_a_database_that_newer_code_has_migrated(
    run: Run, migrations: Path
) -> None:
    add_table(migrations, "books")
    run("db", "upgrade")
    (migrations / "versions" / "books.py").unlink()

    for command in (
        ["current"],
        ["upgrade"],
        ["downgrade", "--yes"],
        ["check"],
        ["revision", "-m", "x"],
    ):
        result = run("db", *command)
        assert result.exit_code == 1, command
        assert "is at revision books, which no file in" in result.stderr
        assert "git pull" in result.stderr
    shown = json.loads(run("db", "current", "--json").stdout)
    assert shown["unknown"] == ["books"]
    # It asks no database.
    assert run("db", "revision", "-m", "x", "--empty").exit_code == 0


def test_writes_a_migration_where_it_says(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_revision(_: Settings, message: str, *, empty: bool) -> list[Path]:
        return [tmp_path / "versions" / f"{message}.py"] if empty else []

    monkeypatch.setattr("app.database.migrate.make_revision", make_revision)
    monkeypatch.chdir(tmp_path)

    assert "Nothing to do" in run("db", "revision", "-m", "x").stdout
    wrote = run("db", "revision", "-m", "x", "--empty").stdout
    assert wrote == f"Wrote {Path('versions', 'x.py')}\n"


def test_a_migration_is_written_only_from_a_database_that_is_up_to_date(
    run: Run, migrations: Path
) -> None:
    add_table(migrations, "books")
    before = sorted((migrations / "versions").glob("*.py"))

    result = run("db", "revision", "-m", "x")
    assert result.exit_code == 1
    assert "run first: api-admin db upgrade" in result.stderr
    assert sorted((migrations / "versions").glob("*.py")) == before

    # That one is not made from what the database has.
    assert run("db", "revision", "-m", "x", "--empty").exit_code == 0


class TestPopulate:
    def test_adds_users_who_can_log_in(self, run: Run, server: str) -> None:
        for count, total in (("3", 3), ("5001", 5004)):
            result = run("db", "populate", count)
            users = run("user", "list", "--size", "1", "--page", str(total), "--json")
            (user,) = json.loads(users.stdout)
            password = result.stdout.split()[-1]
            credentials = {"email": user["email"], "password": password}
            assert httpx.post(f"{server}/login/", json=credentials).status_code == 200

    def test_refuses_in_production_unless_forced(
        self, run: Run, database_url: str
    ) -> None:
        with settings_from(ENVIRONMENT="production", DATABASE_URL=database_url):
            assert "--force" in refusal(run("db", "populate", "1"))
            assert run("db", "populate", "1", "--force").exit_code == 0

    @pytest.mark.parametrize("count", ["0", "-1", "many"])
    def test_refuses_what_is_no_number_of_users(self, run: Run, count: str) -> None:
        assert run("db", "populate", count).exit_code == 2
