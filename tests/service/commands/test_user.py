"""api-admin user."""

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.service import Run, add_user, refusal

API_ADMIN = Path(sys.executable).with_name("api-admin")


class TestCreate:
    def test_makes_a_user_who_is_shown(self, run: Run, ada: str) -> None:
        shown = json.loads(run("user", "show", ada, "--json").stdout)

        assert shown["email"] == ada
        assert shown["role"] == "user"
        assert "password" not in str(shown)

    def test_makes_an_admin(self, run: Run) -> None:
        add_user(run, "root@example.com", "Grace", "Hopper", "--admin")

        shown = json.loads(run("user", "show", "1", "--json").stdout)
        assert shown["role"] == "admin"

    def test_asks_a_person_until_each_answer_is_right_and_hides_the_password(
        self, run: Run
    ) -> None:
        add_user(run, "grace@example.com", "Grace", "Hopper")
        person, terminal = pty.openpty()
        process = subprocess.Popen(
            [API_ADMIN, "user", "create"],
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=terminal,
            start_new_session=True,
            text=True,
        )
        os.close(terminal)
        # A hidden question forgets what was typed before it: wait for the whole of it.
        # The last blank of the others is on the standard output.
        everything = ""
        for question, answer, said in [
            ("E-mail address:", "ada", ""),
            ("E-mail address:", "grace@example.com", "valid email address"),
            ("E-mail address:", "ada@example.com", "taken"),
            ("First name:", " ", ""),
            ("First name:", "Ada", "at least 1 character"),
            ("Last name:", "Lovelace", ""),
            ("Password: ", "short", ""),
            ("Password: ", "a long secret", "at least 8 characters"),
            ("Password again: ", "another long secret", ""),
            ("Password: ", "a long secret", "two different passwords"),
            ("Password again: ", "a long secret", ""),
        ]:
            shown = ""
            while not shown.endswith(question):
                assert select.select([person], [], [], 60)[0], shown
                shown += os.read(person, 1024).decode()
            assert said in shown
            everything += shown
            os.write(person, f"{answer}\n".encode())
        output, _ = process.communicate(timeout=60)
        os.close(person)

        assert process.returncode == 0
        assert output.lstrip() == "Created user 2: ada@example.com\n"
        assert "Ada" in everything
        assert "a long secret" not in everything

    def test_tells_a_script_which_option_is_missing(self, run: Run) -> None:
        result = run("user", "create", "--email", "ada@example.com")

        assert result.exit_code == 2
        assert "--first-name" in result.stderr

    def test_refuses_an_address_that_is_taken(self, run: Run, ada: str) -> None:
        result = run(
            *("user", "create", "--email", ada.upper(), "--first-name", "A"),
            *("--last-name", "L", "--password", "correct horse battery staple"),
        )

        assert "taken" in refusal(result)

    def test_refuses_what_the_api_refuses(self, run: Run) -> None:
        result = run(
            *("user", "create", "--email", "nobody", "--first-name", "A"),
            *("--last-name", "L", "--password", "short"),
        )

        line = refusal(result)
        assert "email: " in line
        assert "password: " in line
        assert "short" not in line


class TestList:
    def test_names_the_next_command_when_there_is_nobody(self, run: Run) -> None:
        assert "api-admin user create" in run("user", "list").stdout

    def test_pages(self, run: Run) -> None:
        run("db", "populate", "7")

        result = run("user", "list", "--size", "3", "--page", "2")
        assert "\n4 " in result.stdout
        assert "\n7 " not in result.stdout
        assert "Showing 4 to 6 of 7 users. Next: --page 3" in result.stderr

        assert "fill 3" in refusal(run("user", "list", "--size", "3", "--page", "4"))

    def test_shows_a_page_of_very_many(self, run: Run) -> None:
        run("db", "populate", "10000")

        result = run("user", "list")
        _, _, *rows = result.stdout.splitlines()
        assert len(rows) == 50
        assert "Showing 1 to 50 of 10,000 users. Next: --page 2" in result.stderr

        result = run("user", "list", "--search", "lovelace", "--page", "2", "--json")
        assert len(json.loads(result.stdout)) == 50
        assert "Showing 51 to 100 of" in result.stderr

        shown = json.loads(run("user", "show", "10000", "--json").stdout)
        assert shown["id"] == 10_000

    def test_searches(self, run: Run, ada: str) -> None:
        add_user(run, "grace@example.com", "Grace", "Hopper")

        found = run("user", "list", "--search", "LOVE", "--in", "last_name", "--json")
        assert [user["email"] for user in json.loads(found.stdout)] == [ada]
        assert "No user has" in run("user", "list", "--search", "%").stdout

    def test_is_one_plain_line_per_user_when_piped(self, run: Run) -> None:
        long = "a" * 60 + "@example.com"
        add_user(run, long, "[red]Ada", "Love\u202elace")

        heading, _, row = run("user", "list").stdout.splitlines()
        assert heading.startswith("Id")
        assert long in row
        assert "[red]Ada Love\\u202elace" in row

    def test_fits_80_columns(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        add_user(run, "a" * 60 + "@example.com", "A" * 100, "L" * 100)

        assert max(map(len, run("user", "list").stdout.splitlines())) <= 80


class TestChange:
    def test_bans_and_unbans(self, run: Run, ada: str) -> None:
        for command, banned in (("ban", True), ("unban", False)):
            assert run("user", command, ada).exit_code == 0
            shown = json.loads(run("user", "show", "1", "--json").stdout)
            assert shown["banned"] is banned

    def test_keeps_the_last_admin(self, run: Run, ada: str) -> None:
        assert run("user", "admin", ada).exit_code == 0

        assert "last admin" in refusal(run("user", "ban", ada))
        assert "last admin" in refusal(run("user", "delete", ada, "--yes"))

    def test_takes_the_admin_role_away_but_not_from_the_last(
        self, run: Run, ada: str
    ) -> None:
        grace = add_user(run, "grace@example.com", "Grace", "Hopper", "--admin")
        assert run("user", "admin", ada).exit_code == 0

        assert run("user", "demote", ada).stdout == f"{ada} is no admin\n"
        assert json.loads(run("user", "show", ada, "--json").stdout)["role"] == "user"
        assert "last admin" in refusal(run("user", "demote", grace))
        shown = json.loads(run("user", "show", grace, "--json").stdout)
        assert shown["role"] == "admin"

    def test_deletes_only_when_told_twice(self, run: Run, ada: str) -> None:
        result = run("user", "delete", ada)
        assert result.exit_code == 2
        assert "--yes" in result.stderr

        assert run("user", "delete", ada, "--yes").exit_code == 0
        assert "no user ada@example.com" in refusal(run("user", "show", ada))

    def test_sets_a_password(self, run: Run, ada: str) -> None:
        command = ("user", "password", ada, "--password-stdin")
        assert run(*command, input="another long secret\n").exit_code == 0

        assert "8 " in refusal(run(*command, input="short\n"))
        assert "128 " in refusal(run(*command, input="long" * 50 + "\n"))
        assert run(*command, input="").exit_code == 2
        assert "too common" in refusal(run(*command, input="password123\n"))
        assert "of the user" in refusal(run(*command, input="Ada-1234\n"))

    def test_sets_a_password_and_ends_api_keys(self, run: Run, ada: str) -> None:
        run("keys", "create", ada, "--name", "a key")
        command = ("user", "password", ada, "--password-stdin")
        run(*command, input="another long secret\n")
        assert len(json.loads(run("keys", "list", ada, "--json").stdout)) == 1

        said = run(*command, "--revoke-api-keys", input="one more long secret\n")
        assert said.stdout == f"{ada} has a new password, and no API keys\n"
        assert json.loads(run("keys", "list", ada, "--json").stdout) == []

    def test_refuses_bytes_that_are_no_text(self, run: Run) -> None:
        assert "UTF-8" in refusal(run("user", "show", os.fsdecode(b"\xff")))

    @pytest.mark.parametrize("who", ["0", "77", "9" * 5000, "nobody@example.com", "é"])
    def test_says_that_there_is_no_such_user(self, run: Run, who: str) -> None:
        assert f"no user {who}" in refusal(run("user", "show", who))
