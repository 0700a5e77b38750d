import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from app.config import Settings, get_settings
from app.config.load import _values, read_env_file, value_problems
from app.errors import StartupError
from tests.service.config.conftest import SECRET_KEY, WriteEnv


def refusal() -> str:
    """Return the one line with which the settings are refused."""
    with pytest.raises(StartupError) as refused:
        get_settings()
    (line,) = str(refused.value).splitlines()
    return line


def test_the_environment_wins_over_the_file(
    write_env: WriteEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_env("PORT=8001", "HOST=10.0.0.1")
    monkeypatch.setenv("PORT", "8002")

    settings = get_settings()

    assert (settings.port, settings.host) == (8002, "10.0.0.1")


def test_env_file_names_another_file(
    write_env: WriteEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_env("PORT=8001").rename("other.env")
    monkeypatch.setenv("ENV_FILE", "other.env")

    assert get_settings().port == 8001


def test_an_env_file_that_is_not_there_is_refused(
    write_env: WriteEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_env()
    monkeypatch.setenv("ENV_FILE", "other.env")

    assert refusal() == "ENV_FILE=other.env does not exist"


def test_the_time_zone_of_the_file_is_that_of_the_process(write_env: WriteEnv) -> None:
    write_env("TZ=XYZ-9")
    program = (
        "import time; from app.config import get_settings; get_settings();"
        " print(time.strftime('%z'))"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("TZ", "ENV_FILE")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[3])
    command = [sys.executable, "-c", program]

    assert subprocess.check_output(command, env=environment, text=True) == "+0900\n"


def test_an_empty_env_file_means_no_file(
    write_env: WriteEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_env()
    monkeypatch.setenv("ENV_FILE", "")

    assert "DATABASE_URL is not set" in refusal()


@pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL"])
def test_a_required_setting_is_asked_for(write_env: WriteEnv, name: str) -> None:
    write_env(without=name)

    assert refusal().startswith(f"{name} is not set: put it into .env")


def test_a_folder_without_a_file_is_named(write_env: WriteEnv) -> None:
    write_env().unlink()

    assert refusal().endswith(f"there is no .env in {Path.cwd()}")


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("PORT=99999", "65535"),
        ("PORT=http", "1 to 65535"),
        ("WORKERS=0", "1 to 1024"),
        ("SHUTDOWN_TIMEOUT=0", "1 to 3600"),
        ("FORWARDED_ALLOW_IPS=proxy", "no IP address or network"),
        ("ALLOWED_HOSTS=https://a.example.com", "without scheme and port"),
        ("ENVIRONMENT=staging", "'development', 'production' or 'test'"),
        ("LOG_LEVEL=loud", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("LOG_FORMAT=xml", "should be 'text' or 'json'"),
        ("LOG_CATEGORIES=CACHE,REQESTS", "CACHE, REQUESTS, AUTH, DATABASE, ALL"),
        ("LOG_CATEGORIES=NONE,AUTH", "NONE alone"),
        ("CORS_ORIGINS=app.example.com", "https://"),
        ("PASSWORD_MIN_LENGTH=4", "8 to 128"),
        ("DATABASE_URL=app.db", "sqlite+aiosqlite:///data/app.db"),
        ("DATABASE_URL=mysql://localhost/app", "postgresql+asyncpg"),
        ("DATABASE_URL=postgresql+asyncpg://localhost", "after the last slash"),
        ("DATABASE_URL=sqlite+aiosqlite:///:memory:", "a file"),
    ],
)
def test_a_wrong_value_is_shown_with_what_is_allowed(
    write_env: WriteEnv, line: str, allowed: str
) -> None:
    name, _, value = line.partition("=")
    write_env(line, without=name)

    shown = refusal()

    assert shown.startswith(f"{name}=")
    assert value in shown
    assert allowed in shown


def test_all_wrong_values_are_named_at_once(write_env: WriteEnv) -> None:
    write_env("PORT=none", "LOG_LEVEL=none")

    assert {"PORT='none'", "LOG_LEVEL='none'"} <= set(refusal().split())


@pytest.mark.parametrize(
    "line",
    [
        "SECRET_KEY=too-short-hush-hush",
        "SECRET_KEY=change-me-hush-hush-hush-hush-hush-hush",
        "DATABASE_URL=mysql://app:hush-hush@localhost/app",
        "DATABASE_URL=postgresql:/app:hush-hush@localhost/app",
    ],
)
def test_a_secret_is_never_shown(write_env: WriteEnv, line: str) -> None:
    write_env(line, without=line.partition("=")[0])

    assert "hush" not in refusal()


def test_settings_do_not_show_their_secrets(write_env: WriteEnv) -> None:
    write_env("DATABASE_URL=sqlite:///hush.db", without="DATABASE_URL")

    shown = repr(get_settings())

    assert SECRET_KEY not in shown
    assert "hush" not in shown


@pytest.mark.parametrize(
    "key",
    [
        "0f1c7b9e5a2d48368c4b6f0a1e9d735",  # 31 characters
        "changeme-0f1c7b9e5a2d48368c4b6f0a1e9d7352",
        "your-secret-key-0f1c7b9e5a2d48368c4b",
        "abababababababababababababababababab",
        "0123456789abcdef0123456789abcdef",
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "0000000000000000000000000123456789abcdef",
        "correct-horse-battery-password-staple",
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    ],
)
def test_a_weak_key_is_refused(write_env: WriteEnv, key: str) -> None:
    write_env(f"SECRET_KEY={key}", without="SECRET_KEY")

    line = refusal()
    assert line.startswith("SECRET_KEY=********")
    assert "openssl rand -hex 32" in line


@pytest.mark.parametrize("environment", ["development", "production"])
def test_the_key_of_the_tests_is_refused_elsewhere(
    write_env: WriteEnv, environment: str
) -> None:
    write_env(
        f"ENVIRONMENT={environment}",
        "SECRET_KEY=only-for-tests-8Jq2vX7mZr4TnK1wYc5LdG9s",
        without="SECRET_KEY",
    )

    line = refusal()
    assert line.startswith("SECRET_KEY is that of the tests")
    assert "openssl rand -hex 32" in line
    assert "8Jq2" not in line
    assert line in value_problems(read_env_file(Path(".env")))


def test_random_keys_are_taken(write_env: WriteEnv) -> None:
    for make in (secrets.token_hex, secrets.token_urlsafe):
        for _ in range(50):
            key = make(32).replace("=", "")
            assert not value_problems(
                {"SECRET_KEY": key, "DATABASE_URL": "sqlite:///app.db"}
            )


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_other_names_of_a_database_are_understood(
    write_env: WriteEnv, scheme: str
) -> None:
    write_env(f"DATABASE_URL={scheme}://app:p%40ss@db/app", without="DATABASE_URL")

    assert get_settings().database_url == "postgresql+asyncpg://app:p%40ss@db/app"


def test_lists_are_separated_by_commas(write_env: WriteEnv) -> None:
    write_env("LOG_CATEGORIES= cache , AUTH,", "CORS_ORIGINS=")

    settings = get_settings()

    assert settings.log_categories == ("CACHE", "AUTH")
    assert settings.cors_origins == ()


def test_a_level_may_be_written_in_lower_case(write_env: WriteEnv) -> None:
    write_env("LOG_LEVEL=debug")

    assert get_settings().log_level == "DEBUG"


def test_a_dollar_sign_is_a_dollar_sign(write_env: WriteEnv) -> None:
    write_env("API_TITLE='${HOME}'")

    assert get_settings().api_title == "${HOME}"


def test_a_file_that_is_no_text_is_refused(write_env: WriteEnv) -> None:
    write_env().write_bytes(b"\xff\xfe")

    assert refusal().startswith(f"{Path('.env')} cannot be read")


def test_a_link_of_kubernetes_is_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "model_fields", {"mail_port": FieldInfo(default=25)})
    monkeypatch.setenv("MAIL_PORT", "tcp://10.96.0.12:25")

    assert _values({}) == {"mail_port": 25}
    assert _values({"MAIL_PORT": "26"}) == {"mail_port": "26"}


@pytest.mark.parametrize(
    ("environment", "file", "workers"),
    [
        ({"WEB_CONCURRENCY": "3"}, "", 3),
        ({"WEB_CONCURRENCY": "3"}, "WORKERS=1", 3),
        ({"WEB_CONCURRENCY": "3", "WORKERS": "2"}, "", 2),
        ({}, "WEB_CONCURRENCY=3", 3),
        ({"WORKERS": "2"}, "WEB_CONCURRENCY=3", 2),
    ],
)
def test_workers_have_the_name_of_platforms_too(
    write_env: WriteEnv,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    file: str,
    workers: int,
) -> None:
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    write_env(file)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert get_settings().workers == workers


def test_the_name_that_was_written_is_named(
    write_env: WriteEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_env()
    monkeypatch.setenv("WEB_CONCURRENCY", "many")

    assert refusal().startswith("WEB_CONCURRENCY='many'")


def test_settings_of_libraries_are_handed_on(
    write_env: WriteEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTRY_RELEASE", "of the environment")
    for name in ("OTEL_SERVICE_NAME", "FASTAPI_ENV"):
        monkeypatch.setenv(name, "")  # so that it is undone
        monkeypatch.delenv(name)
    write_env("OTEL_SERVICE_NAME=a", "FASTAPI_ENV=*", "SENTRY_RELEASE=b")

    get_settings()

    assert os.environ["OTEL_SERVICE_NAME"] == "a"
    assert os.environ["FASTAPI_ENV"] == "*"
    assert os.environ["SENTRY_RELEASE"] == "of the environment"
