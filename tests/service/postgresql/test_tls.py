"""TLS with certificates of both sides, as DATABASE_URL asks for it."""

from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from app.database import Database
from app.errors import reason
from tests.environment import settings_from
from tests.service.tls import make_certificates, tls_before

CHECK = "sslmode=verify-full&sslrootcert={0}/ca.pem"
SHOW = "&sslcert={0}/client.pem&sslkey={0}/client.key"


async def ask(database_url: str, host: str, query: str, folder: Path) -> object:
    make_certificates(folder)
    url = make_url(database_url)
    async with tls_before(url.port, folder, postgresql=True) as port:
        there = url.set(host=host, port=port).render_as_string(hide_password=False)
        with settings_from(DATABASE_URL=f"{there}?{query.format(folder)}") as settings:
            database = Database(settings)
        try:
            async with database.session() as session:
                return await session.scalar(text("SELECT 1"))
        finally:
            await database.dispose()


async def test_both_sides_show_their_certificates(
    database_url: str, tmp_path: Path
) -> None:
    assert await ask(database_url, "localhost", CHECK + SHOW, tmp_path) == 1


@pytest.mark.parametrize(
    ("host", "query", "why"),
    [
        ("127.0.0.1", CHECK + SHOW, "not valid for '127.0.0.1'"),
        ("localhost", CHECK.replace("ca.pem", "client.pem") + SHOW, "VERIFY"),
        ("localhost", CHECK, ""),
    ],
    ids=["another host", "another authority", "no certificate"],
)
async def test_one_that_is_missing_or_not_trusted_ends_it(
    database_url: str, tmp_path: Path, host: str, query: str, why: str
) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011
        await ask(database_url, host, query, tmp_path)
    assert why in reason(raised.value)
