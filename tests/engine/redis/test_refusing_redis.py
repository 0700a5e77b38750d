"""C8 on a Redis that answers, but refuses: full, read-only, loading, locked."""

from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from app.cache.engine.redis.settings import RIGHTS
from tests.engine.redis.forwarder import Forwarder
from tests.engine.redis.shelf import LOCAL_MISS, MISS, Shelf
from tests.engine.wire import until
from tests.servers.valkey import Valkey
from tests.service.tls import make_certificates

VERSION = "{app}:token:books"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


async def works(shelf: Shelf) -> None:
    """See that Redis is used, and that a write is seen."""
    await shelf.until("ok")
    assert (await shelf.read())[0] == shelf.books
    await shelf.write()
    assert await shelf.read() == (shelf.books, MISS)
    assert await shelf.read() == (shelf.books, "fastapi; hit")


async def does_without(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    """See that Redis is left alone and that this is said, and that a write is seen."""
    await shelf.write()
    assert (await shelf.read())[0] == shelf.books
    await until(lambda: warnings(caplog))
    await shelf.until("degraded")
    await shelf.write()
    assert await shelf.read() == (shelf.books, LOCAL_MISS)


async def test_full_redis_loses_no_invalidation_of_any_worker(
    database_url: str,
    start_valkey: Callable[..., Valkey],
    shelf: Shelf,
    caplog: pytest.LogCaptureFixture,
) -> None:
    valkey = start_valkey("--maxmemory-policy", "noeviction")
    async with shelf.served(database_url, valkey):
        await works(shelf)
        stored = valkey.ask("GET", VERSION)
        valkey.ask("CONFIG", "SET", "maxmemory", 1)
        await shelf.write()
        assert valkey.ask("GET", VERSION) != stored  # so no other worker serves it
        assert (await shelf.read())[0] == shelf.books
        await does_without(shelf, caplog)
        valkey.ask("CONFIG", "SET", "maxmemory", 0)
        await works(shelf)
    assert "raise maxmemory" in warnings(caplog)[0]


async def test_replica_is_left_alone_until_it_is_the_primary(
    database_url: str,
    start_valkey: Callable[..., Valkey],
    shelf: Shelf,
    caplog: pytest.LogCaptureFixture,
) -> None:
    valkey = start_valkey()
    async with shelf.served(database_url, valkey):
        await works(shelf)
        valkey.ask("REPLICAOF", "127.0.0.1", "1")
        await shelf.until("degraded")  # by itself, with no write of the service
        await does_without(shelf, caplog)
        valkey.ask("REPLICAOF", "NO", "ONE")
        await works(shelf)
    assert "it is a replica: check REDIS_URL" in warnings(caplog)[0]


async def test_loading_redis_is_waited_for(
    database_url: str,
    start_valkey: Callable[..., Valkey],
    shelf: Shelf,
    caplog: pytest.LogCaptureFixture,
) -> None:
    valkey = start_valkey()
    for number in range(300):
        valkey.ask("SET", f"other:{number}", "x" * 1000)
    valkey.ask("SAVE")
    async with shelf.served(database_url, valkey):
        await works(shelf)
        valkey.stop()
        slowly = ("--key-load-delay", "10000", "--enable-debug-command", "yes")
        often = ("--loading-process-events-interval-bytes", "1024")
        valkey.start(*slowly, *often, answers=b"-LOADING")
        await does_without(shelf, caplog)
        await works(shelf)
    assert any("loaded its data" in line for line in warnings(caplog))


async def test_redis_that_cannot_write_to_its_disk_is_left_alone_until_it_can(
    database_url: str,
    start_valkey: Callable[..., Valkey],
    tmp_path: Path,
    shelf: Shelf,
    caplog: pytest.LogCaptureFixture,
) -> None:
    snapshots = ("--save", "3600", "1", "--stop-writes-on-bgsave-error", "yes")
    locked = ("--requirepass", "s3cret", "--enable-protected-configs", "yes")
    valkey = start_valkey(*snapshots, *locked, answers=b"-NOAUTH")
    valkey.password = "s3cret"

    folder = tmp_path / "snapshots"

    async def save(status: str) -> None:
        """Have the server write a snapshot into its folder; see how that ends."""
        folder.mkdir()
        valkey.ask("CONFIG", "SET", "dir", str(folder))
        if status == "err":
            folder.rmdir()
        valkey.ask("BGSAVE")
        await until(lambda: not persistence()["rdb_bgsave_in_progress"])
        assert persistence()["rdb_last_bgsave_status"] == status

    def persistence() -> dict[str, str | int]:
        found: dict[str, str | int] = valkey.ask("INFO", "persistence")
        return found

    async with shelf.served(database_url, f"redis://:s3cret@127.0.0.1:{valkey.port}/0"):
        await works(shelf)
        await save("err")
        await does_without(shelf, caplog)
        await save("ok")
        await works(shelf)
    assert "it cannot write to its disk, see its log" in warnings(caplog)[0]
    assert "s3cret" not in caplog.text


S3CRET = {"REDIS_PASSWORD": "s3cret"}
LOGIN = "check REDIS_USERNAME and REDIS_PASSWORD"
ACL = "the ACL user needs ~{app}:* +info +get"
HINTS = {
    "no password": ({}, LOGIN),
    "wrong password": ({"REDIS_PASSWORD": "wr@ng"}, LOGIN),
    "may not run scripts": (S3CRET | {"REDIS_USERNAME": "reader"}, ACL),
    "may not prolong": (S3CRET | {"REDIS_USERNAME": "keeper"}, ACL),
    "may not read our keys": (S3CRET | {"REDIS_USERNAME": "stranger"}, ACL),
    "no such database": (S3CRET | {"REDIS_DB": "9"}, "check REDIS_DB"),
    "no TLS there": (S3CRET | {"REDIS_TLS": "true"}, "REDIS_PORT and REDIS_TLS"),
    "no such host": (S3CRET | {"REDIS_HOST": "no.invalid"}, "check REDIS_HOST"),
    "nobody listens": (S3CRET | {"REDIS_PORT": "1"}, "check REDIS_HOST and"),
}


@pytest.mark.parametrize(("variables", "hint"), HINTS.values(), ids=HINTS)
async def test_says_which_setting_to_look_at_and_no_password(
    database_url: str,
    start_valkey: Callable[..., Valkey],
    shelf: Shelf,
    caplog: pytest.LogCaptureFixture,
    variables: dict[str, str],
    hint: str,
) -> None:
    locked = ("--requirepass", "s3cret", "--databases", "2")
    valkey = start_valkey(*locked, answers=b"-NOAUTH")
    valkey.password = "s3cret"
    commands = ("+@all", "-eval")
    valkey.ask("ACL", "SETUSER", "reader", "on", ">s3cret", "~{app}:*", *commands)
    commands = ("+@all", "-expire")
    valkey.ask("ACL", "SETUSER", "keeper", "on", ">s3cret", "~{app}:*", *commands)
    valkey.ask("ACL", "SETUSER", "stranger", "on", ">s3cret", "~else:*", "+@all")
    port = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(valkey.port)}
    async with shelf.served(database_url, "", **port | variables):
        assert await shelf.read() == (1, LOCAL_MISS)
        await until(lambda: warnings(caplog))
    assert hint in warnings(caplog)[0]
    assert "s3cret" not in caplog.text
    assert "wr@ng" not in caplog.text
    assert "wr%40ng" not in caplog.text


@pytest.mark.parametrize(
    ("tls", "hint"),
    [("false", "REDIS_PORT and REDIS_TLS"), ("true", "?ssl_ca_certs=")],
    ids=["TLS there", "unknown certificate"],
)
async def test_says_how_to_speak_tls_with_a_server_that_wants_it(
    database_url: str,
    start_valkey: Callable[..., Valkey],
    forwarder: Forwarder,
    tmp_path: Path,
    shelf: Shelf,
    caplog: pytest.LogCaptureFixture,
    tls: str,
    hint: str,
) -> None:
    valkey = start_valkey("--requirepass", "s3cret", answers=b"-NOAUTH")
    forwarder.speak_tls(certificate(tmp_path))
    await forwarder.lead_to(valkey.port)
    port = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(forwarder.port)}
    async with shelf.served(database_url, "", **S3CRET, **port, REDIS_TLS=tls):
        await does_without(shelf, caplog)
    assert hint in warnings(caplog)[0]
    assert "s3cret" not in caplog.text


async def test_speaks_tls_with_a_server_whose_ca_is_named(
    database_url: str,
    start_valkey: Callable[..., Valkey],
    forwarder: Forwarder,
    tmp_path: Path,
    shelf: Shelf,
) -> None:
    forwarder.speak_tls(certificate(tmp_path))
    await forwarder.lead_to(start_valkey().port)
    url = f"rediss://localhost:{forwarder.port}/0?ssl_ca_certs={tmp_path}/ca.pem"
    async with shelf.served(database_url, url):
        await works(shelf)


def certificate(folder: Path) -> Path:
    """Return a certificate of localhost with its key, beside the CA's `ca.pem`."""
    make_certificates(folder)
    file = folder / "both.pem"
    parts = (folder / "server.pem", folder / "server.key")
    file.write_text("".join(part.read_text() for part in parts))
    return file


async def test_rights_that_the_message_names_are_enough(
    database_url: str, start_valkey: Callable[..., Valkey], shelf: Shelf
) -> None:
    valkey = start_valkey()
    rule = ("on", ">s3cret", "~{app}:*", *RIGHTS.split())
    valkey.ask("ACL", "SETUSER", "service", *rule)
    own = {"REDIS_USERNAME": "service", "REDIS_PASSWORD": "s3cret"}
    port = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(valkey.port)}
    async with shelf.served(database_url, "", **own, **port):
        await works(shelf)
        assert (await shelf.health())["detail"]["openings"] == 0


async def test_without_the_right_to_info_everything_is_dropped_at_each_connection(
    database_url: str,
    start_valkey: Callable[..., Valkey],
    shelf: Shelf,
    caplog: pytest.LogCaptureFixture,
) -> None:
    valkey = start_valkey()
    valkey.ask(
        "ACL", "SETUSER", "service", "on", ">s3cret", "~{app}:*", "+@all", "-info"
    )
    own = {"REDIS_USERNAME": "service", "REDIS_PASSWORD": "s3cret"}
    port = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(valkey.port)}
    async with shelf.served(database_url, "", **own, **port):
        await works(shelf)
        valkey.ask("CLIENT", "KILL", "USER", "service")
        await shelf.until("ok")
        assert await shelf.read() == (shelf.books, MISS)
    assert "Let the ACL user run INFO" in warnings(caplog)[0]


async def test_a_redis_without_a_free_connection_is_left_alone(
    database_url: str,
    start_valkey: Callable[..., Valkey],
    shelf: Shelf,
    caplog: pytest.LogCaptureFixture,
) -> None:
    valkey = start_valkey()
    async with shelf.served(database_url, valkey):
        await works(shelf)
        with Redis(port=valkey.port) as admin:
            admin.config_set("maxclients", 1)
            admin.client_kill_filter(_type="normal", skipme=True)
            await does_without(shelf, caplog)
            admin.config_set("maxclients", 100)
            await works(shelf)
    assert "maxclients" in warnings(caplog)[0]
