"""api-admin keys."""

import json

import httpx
from sqlalchemy import insert

from app.commands.running import in_session
from app.models import ApiKey
from tests.servers.service import Run, refusal


def test_a_new_key_is_all_that_goes_to_stdout_and_works(
    run: Run, ada: str, server: str
) -> None:
    key = run("keys", "create", ada, "--name", "script").stdout.removesuffix("\n")

    me = httpx.get(f"{server}/users/me", headers={"X-API-Key": key})
    assert me.json()["email"] == ada


def test_a_key_has_the_scopes_and_the_expiry_it_was_given(run: Run, ada: str) -> None:
    created = run(
        *("keys", "create", ada, "--name", "x", "--json"),
        *("--scope", "keys:read", "--scope", "profile:read", "--expires", "2999-12-31"),
    )

    key = json.loads(created.stdout)
    assert key["scopes"] == ["profile:read", "keys:read"]
    assert key["expires_at"] == "2999-12-31T00:00:00Z"


def test_scopes_beyond_the_role_and_times_gone_by_are_refused(
    run: Run, ada: str
) -> None:
    create = ("keys", "create", ada, "--name", "x")

    assert "users:read" in refusal(run(*create, "--scope", "users:read"))
    assert "profile:read" in refusal(run(*create, "--scope", "nonsense"))
    assert "past" in refusal(run(*create, "--expires", "2020-01-01"))


def test_lists_keys_without_their_secrets(run: Run, ada: str) -> None:
    assert "api-admin keys create" in run("keys", "list").stdout
    created = run("keys", "create", ada, "--name", "nightly", "--json")
    key = json.loads(created.stdout)

    listed = run("keys", "list", ada).stdout
    assert key["prefix"] in listed
    assert "nightly" in listed
    assert key["key"] not in listed
    everybodys = json.loads(run("keys", "list", "--json").stdout)
    assert [each["user"] for each in everybodys] == [ada]


def test_shows_a_page_of_very_many(run: Run, ada: str) -> None:
    same = {"user_id": 1, "name": "x", "key_hash": "", "scopes": []}
    keys = [same | {"prefix": f"{number:08}"} for number in range(10_000)]
    in_session(lambda session: session.execute(insert(ApiKey), keys))

    for owner in ((), (ada,)):
        result = run("keys", "list", *owner)
        _, _, *rows = result.stdout.splitlines()
        assert len(rows) == 50
        assert "Showing 1 to 50 of 10,000 API keys. Next: --page 2" in result.stderr


def test_revokes_by_prefix_or_id(run: Run, ada: str) -> None:
    for name in ("prefix", "id"):
        created = run("keys", "create", ada, "--name", "x", "--json")
        key = str(json.loads(created.stdout)[name])
        assert run("keys", "revoke", key).exit_code == 2
        assert run("keys", "revoke", key, "--yes").exit_code == 0
        assert f"no API key {key}" in refusal(run("keys", "revoke", key, "--yes"))
    assert json.loads(run("keys", "list", "--json").stdout) == []
