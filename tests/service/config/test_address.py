"""Addresses as providers print them: each is understood, or told what to write."""

import pytest
from sqlalchemy import make_url

from app.config import get_settings
from app.config.database import driver_arguments, parse_address
from app.errors import StartupError
from tests.service.config.conftest import WriteEnv
from tests.service.config.test_load import refusal

# The left side as it is printed, the right side what asyncpg is told.
UNDERSTOOD = {
    "postgres://app:hush@db.example.com:5432/app": {},
    "postgresql://app:hush@db.example.com/app?sslmode=require": {
        "sslmode": "require",
    },
    "postgresql://app:hush@db.example.com/app?ssl=true": {"sslmode": "require"},
    "postgres://app:hush@db.example.com/app?sslmode=verify-full&sslrootcert=ca.pem": {
        "sslmode": "verify-full",
        "sslrootcert": "ca.pem",
    },
    "postgres://app@db.example.com/app?sslmode=verify-ca&sslrootcert=ca.pem"
    "&sslcert=app.pem&sslkey=app.key": {
        "sslmode": "verify-ca",
        "sslrootcert": "ca.pem",
        "sslcert": "app.pem",
        "sslkey": "app.key",
    },
    "postgresql://app:hush@db.example.com/app?sslmode=require&channel_binding=prefer": {
        "sslmode": "require",
    },
    "postgresql://app:hush@db.example.com/app?connect_timeout=15": {
        "connect_timeout": "15",
    },
    "postgresql://app:hush@db.example.com/app?application_name=shop": {
        "application_name": "shop",
    },
    "postgresql://app:hush@db.example.com/app?options=-c%20search_path%3Dshop": {
        "options": "-c search_path=shop",
    },
    "postgresql://app:hush@db.example.com/app?target_session_attrs=read-write": {
        "target_session_attrs": "read-write",
    },
    "postgresql://app:hush@/app?host=/var/run/postgresql": {
        "host": "/var/run/postgresql",
    },
    "postgresql://app:hush@%2Fvar%2Frun%2Fpostgresql/app": {
        "host": "/var/run/postgresql",
    },
    "postgresql://app:hush@[2001:db8::1]:5432/app": {},
    "postgresql://app:hu%40sh%25@db.example.com/app": {},
    "postgresql://db.example.com/app?user=app&password=hush": {},
}
REFUSED = {
    "postgresql://app:hu@sh@db.example.com/app": "write it as %40",
    "postgresql://app:hush@db.example.com/app?sslmode=require"
    "&channel_binding=require": "write sslmode=verify-full",
    "postgresql://app:hush@db.example.com:6543/app?pgbouncer=true": (
        "write DATABASE_POOLER=true"
    ),
    "postgresql://app:hush@db.example.com/app?schema=shop": (
        "write options=-c%20search_path=NAME"
    ),
    "postgresql://app:hush@db.example.com/app?keepalives_idle=30": (
        "the parameter keepalives_idle, which the driver does not know: remove it"
    ),
    "postgresql://app:hush@db.example.com/app?sslmode=required": "disable, allow",
    "postgresql://app:hush@db.example.com/app?sslpassword=hush": "without a password",
    "postgresql://app:hush@db.example.com/app?connect_timeout=5s": "no number",
    "postgresql://app:hush@one.example.com:5432,two.example.com:5432/app": (
        "name several hosts as ?host="
    ),
    "postgresql://app:hush@db.example.com": "after the last slash",
}


@pytest.mark.parametrize("text", UNDERSTOOD)
def test_an_address_is_understood(text: str) -> None:
    url = parse_address(text)

    assert url.drivername == "postgresql+asyncpg"
    assert (url.username, url.database) == ("app", "app")
    assert url.query == UNDERSTOOD[text]
    assert url.query.get("host") or url.host in ("db.example.com", "2001:db8::1")


@pytest.mark.parametrize("text", REFUSED)
def test_an_address_is_refused_with_what_to_write(
    write_env: WriteEnv, text: str
) -> None:
    write_env(f"DATABASE_URL={text}", without="DATABASE_URL")

    shown = refusal()

    assert shown.startswith("DATABASE_URL=")
    assert REFUSED[text] in shown
    assert "hu" not in shown
    assert "sh@" not in shown


@pytest.mark.parametrize(
    "password",
    ["hush@hush", "@hush", "hush@", "h/u@hush:@hush", "hush?@hush", "hush@#"],
)
@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_no_part_of_a_password_is_shown(
    write_env: WriteEnv, scheme: str, password: str
) -> None:
    text = f"{scheme}://app:{password}@db.example.com/app"
    write_env(f"DATABASE_URL='{text}'", without="DATABASE_URL")

    try:
        shown = str(make_url(get_settings().database_url))
    except StartupError as error:
        shown = str(error)

    assert "hush" not in shown


def test_the_certificates_of_the_system_are_used() -> None:
    url = make_url("postgresql+asyncpg://db/app?sslmode=verify-full&sslrootcert=system")

    assert driver_arguments(url) == {"ssl": True, "server_settings": {}}
