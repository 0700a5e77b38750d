"""C11: whatever is stored under our keys is an entry of ours, or a miss."""

import json
import pickle
import random
import re
import time
from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from fastapi_cache.coder import PickleCoder
from pydantic import SecretStr

import app as service
from app.cache import cached, invalidate_namespace
from app.cache.engine.cache import Cache, Wanted
from app.cache.engine.entry import Entry, seal, unseal, version_place
from app.cache.engine.exchange import running
from app.config import Settings
from tests.engine.answers import outcome

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


class Places:
    """Where the entries of the running cache are stored."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache = running[-1]
        self._noted: list[str] = []
        put = self.cache.store.put

        async def noted(key: str, *args: Any) -> None:
            self._noted.append(key)
            await put(key, *args)

        monkeypatch.setattr(self.cache.store, "put", noted)

    def of(self, name: str) -> str:
        """Return the place of the answer of /safe/{name}, which was stored."""
        (place,) = {place for place in self._noted if f"entry:safe:{name}#" in place}
        return place

    async def stored(self, name: str) -> bytes:
        (data,) = await self.cache.store.get_many([self.of(name)])
        assert data is not None
        return data

    async def entry(self, name: str) -> Entry:
        entry = self.cache.read(await self.stored(name), self.of(name))
        assert entry is not None
        return entry

    async def plant(self, name: str, data: bytes) -> None:
        await self.cache.store.put(self.of(name), data, 60)


@pytest.fixture
async def places(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Return the places of the three routes, each of which has an entry."""
    places = Places(monkeypatch)
    for name in ("one", "other", "pickled"):
        await client.get(f"/safe/{name}")
        assert outcome(await client.get(f"/safe/{name}")) == "HIT"
    return places


async def is_a_miss(client: httpx.AsyncClient, name: str) -> bool:
    """Tell whether the route ran, answered right, and is stored again."""
    answer = await client.get(f"/safe/{name}")
    assert (answer.status_code, answer.json()) == (200, name)
    again = await client.get(f"/safe/{name}")
    assert (outcome(again), again.json()) == ("HIT", name)
    return outcome(answer) == "MISS"


def _forged(place: str, content: bytes) -> bytes:
    """Return what an attacker makes who knows the format, but not the key."""
    mac = blake2b(place.encode(), key=b"a guess", digest_size=16)
    mac.update(b"\0" + content)
    return b"fastcache\x02" + mac.digest() + content


def _damaged(place: str, data: bytes, good: Entry, attack: bytes) -> Iterator[bytes]:
    dice = random.Random(7)  # noqa: S311 - the same every time
    yield from (b"", b"\x00", b"null", b"{}", attack, data + b"x", data * 2)
    yield from (dice.randbytes(dice.randrange(1, 400)) for _ in range(10))
    yield from (data[: dice.randrange(len(data))] for _ in range(10))
    for _ in range(10):
        at = dice.randrange(len(data))
        yield data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :]
    yield data.replace(b"fastcache\x02", b"fastcache\x01")  # an older format
    for about in (b"null", b"[]", b"[" * 100_000, b'{"a":1}', b"[1,2,3,4,5,6,7]"):
        yield _forged(place, b"%d:%b" % (len(about), about))
    for size in (b"", b"x", b"-1", b"9" * 5000, b"1e9"):
        yield _forged(place, size + b":" + json.dumps(good[:-1]).encode())
    for key in (b"", b"a guess"):
        yield seal(good, place, key)
        yield seal(good._replace(body=attack), place, key)
        yield seal(good._replace(versions={}), place, key)


def test_an_attacker_who_knows_the_format_lacks_only_the_key() -> None:
    """Else the attacks below would be none."""
    place, entry = "app:entry:safe:one#1", Entry({}, 1, 2, 0, 0, (), b"body")
    data = seal(entry, place, b"a guess")
    assert _forged(place, data[len(b"fastcache\x02") + 16 :]) == data


async def test_what_is_no_entry_is_a_miss(
    client: httpx.AsyncClient, places: Places, tmp_path: Path
) -> None:
    attacked = tmp_path / "attacked"
    attack = pickle.dumps(Attack(attacked))
    for name in ("one", "pickled"):
        place, data = places.of(name), await places.stored(name)
        good = await places.entry(name)
        for damaged in _damaged(place, data, good, attack):
            await places.plant(name, damaged)
            assert await is_a_miss(client, name), damaged[:300]
    assert not attacked.exists()


async def test_no_flipped_bit_and_no_cut_goes_unseen() -> None:
    place, key = "app:entry:safe:one#1", b"k" * 32
    headers = (("etag", '"1"'), ("x-own", "ü"))
    entry = Entry({"": "a", "safe": "b"}, 1.5, 2.5, 0, 200, headers, b"\x00body\xff")
    data = seal(entry, place, key)
    assert unseal(data, place, key) == entry
    assert unseal(None, place, key) is None
    assert all(unseal(data[:size], place, key) is None for size in range(len(data)))
    for at in range(len(data)):
        for bit in range(8):
            flipped = data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
            assert unseal(flipped, place, key) is None


@pytest.mark.parametrize("body", [b"", b"x", b":", b"1:[]", b"\xff" * 300])
def test_what_is_sealed_is_valid_in_its_place_and_with_its_key_only(
    body: bytes,
) -> None:
    place, key = "app:entry:\ud800é#1", b"k" * 32
    entry = Entry({"a": "b"}, 1.5, 2.5, 3, 200, (("x", "ü"),), body)
    data = seal(entry, place, key)
    assert unseal(data, place, key) == entry
    for other in ("", "app:entry:é#1", f"{place}\0", place[:-1]):
        assert unseal(data, other, key) is None
    for another in (b"", b"k" * 31, b"K" * 32):
        assert unseal(data, place, another) is None


async def test_an_entry_in_another_place_is_a_miss(
    client: httpx.AsyncClient, places: Places
) -> None:
    for name in ("other", "pickled"):
        await places.plant("one", await places.stored(name))
        assert await is_a_miss(client, "one")
    await places.plant("pickled", await places.stored("one"))
    assert await is_a_miss(client, "pickled")


async def test_an_entry_of_another_user_in_ones_own_place_is_a_miss(
    places: Places,
) -> None:
    """Who may write to the server still gives nobody another one's data."""
    cache, entry = places.cache, await places.entry("one")
    mine, yours = (cache.place("user:1:notes", variant) for variant in ("me", "you"))
    await cache.keep(yours, entry)
    (data,) = await cache.store.get_many([yours])
    assert data is not None
    await cache.store.put(mine, data, 60)
    assert cache.read(data, yours) == entry
    assert cache.read(data, mine) is None


async def test_an_entry_that_another_secret_key_sealed_is_a_miss(
    client: httpx.AsyncClient, places: Places, settings: Settings
) -> None:
    another = {"secret_key": SecretStr("another-secret-key-of-enough-length")}
    stranger = Cache(places.cache.store, settings.model_copy(update=another))
    for name in ("one", "pickled"):
        place, entry = places.of(name), await places.entry(name)
        assert await stranger.keep(place, entry)
        assert stranger.read(await places.stored(name), place) == entry
        assert await is_a_miss(client, name)
    stored = await places.stored("one")
    assert stranger.read(stored, places.of("one")) is None


async def test_an_older_entry_that_is_put_back_is_a_miss(
    client: httpx.AsyncClient, places: Places
) -> None:
    """It is authentic, but the versions that it was made under are gone."""
    for name in ("one", "pickled"):
        older = await places.stored(name)
        await invalidate_namespace("safe")
        await places.plant(name, older)
        assert await is_a_miss(client, name)
        await places.plant(name, older)  # also beside a newer one
        assert await is_a_miss(client, name)


async def test_an_expired_entry_that_is_put_back_is_a_miss(
    client: httpx.AsyncClient, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = await places.stored("one")
    later = time.time() + 301
    monkeypatch.setattr(time, "time", lambda: later)
    await places.plant("one", older)
    assert await is_a_miss(client, "one")


async def test_a_value_is_no_response_and_a_response_no_value(
    client: httpx.AsyncClient, places: Places
) -> None:
    """As where an older version of the service had a coder in the same place."""
    response, value = await places.entry("one"), await places.entry("pickled")
    assert (response.status, value.status) == (200, 0)
    wrong = value._replace(versions=response.versions)
    assert await places.cache.keep(places.of("one"), wrong)
    assert await is_a_miss(client, "one")
    wrong = response._replace(versions=value.versions)
    assert await places.cache.keep(places.of("pickled"), wrong)
    assert await is_a_miss(client, "pickled")


async def test_what_a_coder_cannot_read_is_a_miss(
    client: httpx.AsyncClient, places: Places
) -> None:
    value = await places.entry("pickled")
    for body in (b"", b"garbage", pickle.dumps("pickled")[:-1]):
        wrong = value._replace(body=body)
        assert await places.cache.keep(places.of("pickled"), wrong)
        assert await is_a_miss(client, "pickled")


async def test_garbled_versions_of_a_namespace_are_none(
    client: httpx.AsyncClient, places: Places
) -> None:
    version = version_place(places.cache.prefix, "safe")
    for garbage in (b"\xff\x00", b"x" * 100_000):
        await places.cache.store.put(version, garbage, 60)
        assert await is_a_miss(client, "one")


async def test_an_entry_with_no_version_of_a_namespace_above_it_is_never_stored(
    places: Places,
) -> None:
    """One without versions would outlive every invalidation."""
    for name in ("one", "other", "pickled"):
        entry = await places.entry(name)
        assert {"", "safe", f"safe:{name}"} <= set(entry.versions)
        assert all(entry.versions.values())
        wanted = Wanted(f"safe:{name}", partial(places.of, name), 60)
        found = await places.cache.lookup(wanted)
        assert found.entry == entry


def test_the_service_has_nothing_to_do_with_pickle() -> None:
    for file in Path(*service.__path__[:1]).rglob("*.py"):
        assert not re.search(r"pickle|marshal|shelve|dill", file.read_text(), re.I), (
            file
        )
