"""C11: whatever is stored under our keys is an entry of ours, or a miss."""

import json
import pickle
import random
import re
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi_cache.coder import PickleCoder

import app as service
from app.cache import cached
from app.cache.engine import Engine, running
from app.cache.entry import Entry, decode
from tests.cache.answers import outcome

router = APIRouter(prefix="/safe")


@router.get("/one")
@cached(namespace="safe", key_builder=lambda *_, **__: "safe:one")
async def one() -> str:
    return "one"


@router.get("/other")
@cached(namespace="safe", key_builder=lambda *_, **__: "safe:other")
async def other() -> str:
    return "other"


@router.get("/pickled")
@cached(
    namespace="safe", key_builder=lambda *_, **__: "safe:pickled", coder=PickleCoder
)
async def pickled() -> str:
    return "pickled"


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (router,)


class Attack:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.file, "attacked")


def _engine() -> Engine:
    engine = running()
    assert engine is not None
    return engine


class Shelf:
    """What is stored for the routes of this module."""

    def __init__(self, app: FastAPI) -> None:
        self.fingerprints = {
            route.template: route.fingerprint for route in app.state.cache_routes
        }

    def _place(self, name: str) -> str:
        fingerprint = self.fingerprints[f"/safe/{name}"]
        return _engine().entry_key(f"safe:{name}", fingerprint)

    async def stored(self, name: str) -> bytes:
        (data,) = await _engine().storage.get_many([self._place(name)])
        assert data is not None
        return data

    async def plant(self, name: str, data: bytes) -> None:
        await _engine().storage.put(self._place(name), data, 60)


@pytest.fixture
def shelf(app: FastAPI) -> Shelf:
    return Shelf(app)


def _forged(data: bytes, **changes: Any) -> bytes:
    """Return an entry with a right checksum and other contents."""
    entry = decode(data)
    assert entry is not None
    return entry._replace(**changes).encode()


def _with_description(data: bytes, about: bytes) -> bytes:
    magic, _, _, size = struct.unpack_from(">10sIII", data)
    body = data[len(data) - size :]
    check = zlib.crc32(body, zlib.crc32(about))
    return struct.pack(">10sIII", magic, check, len(about), size) + about + body


def _damaged(data: bytes, attack: bytes) -> Iterator[bytes]:
    dice = random.Random(7)  # noqa: S311 - the same every time
    yield from (b"", b"\x00", b"null", b"{}", attack, data + b"x", data * 2)
    yield from (dice.randbytes(dice.randrange(1, 400)) for _ in range(10))
    yield from (data[: dice.randrange(len(data))] for _ in range(10))
    for _ in range(10):
        at = dice.randrange(len(data))
        yield data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :]
    yield data.replace(b"fastcache\x01", b"fastcache\x00")  # an older format
    for about in (b"null", b"[]", b"[" * 100_000, b'{"a":1}', b"[1,2,3,4,5,6,7]"):
        yield _with_description(data, about)
    now = time.time()
    good = decode(data)
    assert good is not None
    parts: list[Any] = [
        good.tokens,
        good.fingerprint,
        now,
        now + 60,
        200,
        good.headers,
        [],
    ]
    wrong: list[tuple[int, Any]] = [
        (2, float("nan")),
        (2, "soon"),
        (3, float("inf")),
        (3, float("nan")),
        (3, 1e400),
        (4, 0),
        (4, 999_999),
        (4, None),
        (5, [["etag", 7]]),
        (5, [["x-€", "1"]]),
        (5, [["a"]]),
        (5, 5),
        (6, [["accept", 5]]),
        (6, [5]),
    ]
    for position, value in wrong:
        forged = [*parts[:position], value, *parts[position + 1 :]]
        yield _with_description(data, json.dumps(forged).encode())


async def test_what_is_no_entry_is_a_miss(
    client: httpx.AsyncClient, shelf: Shelf, tmp_path: Path
) -> None:
    attacked = tmp_path / "attacked"
    attack = pickle.dumps(Attack(attacked))
    for name in ("one", "pickled"):
        await client.get(f"/safe/{name}")
        data = await shelf.stored(name)
        for damaged in _damaged(data, attack):
            await shelf.plant(name, damaged)
            answer = await client.get(f"/safe/{name}")
            assert (answer.status_code, answer.json()) == (200, name), damaged[:300]
            assert outcome(answer) == "MISS", damaged[:300]
            assert outcome(await client.get(f"/safe/{name}")) == "HIT"
    assert not attacked.exists()


async def test_no_flipped_bit_and_no_cut_goes_unseen(
    client: httpx.AsyncClient, shelf: Shelf
) -> None:
    await client.get("/safe/one")
    data = await shelf.stored("one")
    assert decode(data) is not None
    assert all(decode(data[:size]) is None for size in range(len(data)))
    for at in range(len(data)):
        for bit in range(8):
            flipped = data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
            assert decode(flipped) is None


async def test_an_entry_of_another_route_is_a_miss(
    client: httpx.AsyncClient, shelf: Shelf
) -> None:
    for name in ("one", "other"):
        await client.get(f"/safe/{name}")
    lookup = await _engine().lookup("safe:one", shelf.fingerprints["/safe/other"])
    foreign = _forged(await shelf.stored("other"), tokens=lookup.tokens)
    await shelf.plant("one", foreign)
    answer = await client.get("/safe/one")
    assert (answer.json(), outcome(answer)) == ("one", "MISS")


async def test_an_entry_under_another_key_is_a_miss(
    client: httpx.AsyncClient, shelf: Shelf
) -> None:
    for name in ("one", "other"):
        await client.get(f"/safe/{name}")
    await shelf.plant("one", await shelf.stored("other"))
    answer = await client.get("/safe/one")
    assert (answer.json(), outcome(answer)) == ("one", "MISS")


async def test_garbled_versions_of_a_namespace_are_none(
    client: httpx.AsyncClient,
) -> None:
    await client.get("/safe/one")
    engine = _engine()
    for garbage in (b"\xff\x00", b"x" * 100_000):
        await engine.storage.put(engine.token_key("safe"), garbage, 60)
        answers = [await client.get("/safe/one") for _ in range(2)]
        assert [(a.status_code, outcome(a)) for a in answers] == [
            (200, "MISS"),
            (200, "HIT"),
        ]


def test_entries_survive_their_encoding() -> None:
    entry = Entry(("a",), "f", 1.5, 2.5, 200, (("x", "ü"),), (("y", "d"),), b"\x00\xff")
    assert decode(entry.encode()) == entry


def test_the_service_has_nothing_to_do_with_pickle() -> None:
    for file in Path(*service.__path__[:1]).rglob("*.py"):
        assert not re.search(r"pickle|marshal|shelve|dill", file.read_text(), re.I), (
            file
        )
