"""What the driver of PostgreSQL is told."""

import pytest

from app.config import get_settings
from app.errors import StartupError
from tests.service.config.conftest import WriteEnv


def arguments(write_env: WriteEnv, query: str, *lines: str) -> dict[str, object]:
    url = f"DATABASE_URL=postgresql://app@db/app?{query}"
    write_env(url, *lines, without="DATABASE_URL")
    return get_settings().database_arguments()


def test_parameters_become_the_drivers(write_env: WriteEnv) -> None:
    told = arguments(write_env, "sslmode=require&options=-csearch_path%3Da&host=/run")

    assert told["dsn"] == "postgresql://?host=%2Frun&sslmode=require"
    assert told["server_settings"] == {"options": "-csearch_path=a"}


@pytest.mark.parametrize(
    ("line", "seconds"), [("", 15), ("DATABASE_CONNECT_TIMEOUT=3", 3)]
)
def test_a_setting_wins_over_the_timeout_of_an_address(
    write_env: WriteEnv, line: str, seconds: float
) -> None:
    assert arguments(write_env, "connect_timeout=15", line)["timeout"] == seconds


def test_a_pooler_is_never_asked_for_what_another_connection_prepared(
    write_env: WriteEnv,
) -> None:
    told = arguments(write_env, "", "DATABASE_POOLER=true")
    name = told["prepared_statement_name_func"]

    assert told["statement_cache_size"] == told["prepared_statement_cache_size"] == 0
    assert callable(name)
    assert name() != name()


def test_migrations_may_take_their_time(write_env: WriteEnv) -> None:
    write_env("DATABASE_URL=postgresql://db/app", without="DATABASE_URL")
    settings = get_settings()

    assert "command_timeout" in settings.database_arguments()
    assert "command_timeout" not in settings.database_arguments(limited=False)


@pytest.mark.parametrize("name", ["sslrootcert", "sslcert", "sslkey"])
def test_a_certificate_that_is_not_there_is_named(
    write_env: WriteEnv, name: str
) -> None:
    with pytest.raises(StartupError) as refused:
        arguments(write_env, f"sslmode=verify-full&{name}=/no/such.pem")
    line = f"DATABASE_URL has a {name} that is no file here: /no/such.pem"
    assert str(refused.value) == line
