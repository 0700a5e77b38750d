"""TLS with certificates of both sides, as REDIS_URL asks for it."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.commands.cache import store_of
from app.config import Settings
from tests.environment import settings_from
from tests.service.tls import make_certificates, tls_before

CHECK = "ssl_ca_certs={0}/ca.pem"
SHOW = "&ssl_certfile={0}/client.pem&ssl_keyfile={0}/client.key"


async def ping(settings: Settings, host: str, query: str, folder: Path) -> None:
    make_certificates(folder)
    async with tls_before(urlsplit(settings.redis_location()).port, folder) as port:
        url = f"rediss://{host}:{port}/0?{query.format(folder)}"
        of_redis = {"DATABASE_URL": settings.database_url, "REDIS_URL": url}
        with settings_from(**of_redis) as changed:
            server = store_of(changed)
        assert server is not None
        try:
            await server.ping()
        finally:
            await server.close()


async def test_both_sides_show_their_certificates(
    settings: Settings, tmp_path: Path
) -> None:
    await ping(settings, "localhost", CHECK + SHOW, tmp_path)


@pytest.mark.parametrize(
    ("host", "query"),
    [("127.0.0.1", CHECK + SHOW), ("localhost", SHOW[1:]), ("localhost", CHECK)],
    ids=["another host", "another authority", "no certificate"],
)
async def test_one_that_is_missing_or_not_trusted_ends_it(
    settings: Settings, tmp_path: Path, host: str, query: str
) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011
        await ping(settings, host, query, tmp_path)
    assert type(raised.value).__name__ == "StoreError"
