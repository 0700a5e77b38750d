"""C1 and C8 where Redis is a cluster, or where Sentinels say which server it is."""

import asyncio
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from redis.exceptions import RedisError

from app.cache.engine.redis.connection import Link
from app.cache.engine.redis.server import name_of
from app.config import Settings
from tests.engine.each import THOROUGH
from tests.engine.redis.shelf import Shelf
from tests.people import MakeUser, Person
from tests.servers import free_port
from tests.servers.valkey import Valkey, program

PATIENCE = 60  # seconds
SLOTS = 16384
READS = 400 if THOROUGH else 60

Start = Callable[..., Valkey]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def eventually(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Cluster:
    """Three primaries with a replica each."""

    def __init__(self, start: Start) -> None:
        self.nodes = [
            start(
                *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
                *("--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"),
            )
            for _ in range(6)
        ]
        self.alive = list(self.nodes)
        self.ids = [node.ask("CLUSTER", "MYID") for node in self.nodes]
        first = self.nodes[0]
        for number, node in enumerate(self.nodes[:3]):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            begin, end = (SLOTS * each // 3 for each in (number, number + 1))
            node.ask("CLUSTER", "ADDSLOTSRANGE", begin, end - 1)
        for node in self.nodes[1:]:
            bus = first.ask("CONFIG", "GET", "cluster-port")[b"cluster-port"]
            node.ask("CLUSTER", "MEET", "127.0.0.1", first.port, bus)
        eventually(lambda: all(self.knows_all(node) for node in self.nodes))
        for number, replica in enumerate(self.nodes[3:]):
            replica.ask("CLUSTER", "REPLICATE", self.ids[number])
        eventually(lambda: all(self.works(node) for node in self.nodes))
        self.slot = int(first.ask("CLUSTER", "KEYSLOT", name_of("app:any")))

    def knows_all(self, node: Valkey) -> bool:
        text = node.ask("CLUSTER", "NODES").decode()
        return all(each.decode() in text for each in self.ids) and (
            "handshake" not in text
        )

    def works(self, node: Valkey) -> bool:
        replicas = node.ask("CLUSTER", "NODES").count(b"slave")
        return b"cluster_state:ok" in node.ask("CLUSTER", "INFO") and replicas == 3

    @property
    def url(self) -> str:
        return self.home.url

    @property
    def home(self) -> Valkey:
        """The node that has the slot of the service's keys."""
        for begin, end, (_, port, *_), *_ in self.alive[0].ask("CLUSTER", "SLOTS"):
            if begin <= self.slot <= end:
                return next(node for node in self.nodes if node.port == port)
        raise LookupError

    @property
    def others(self) -> list[Valkey]:
        return [node for node in self.nodes[:3] if node is not self.home]

    def kill(self, node: Valkey) -> None:
        node.stop()
        self.alive.remove(node)

    def move(self) -> Iterator[None]:
        """Move the slot of the service's keys to another node, step by step."""
        source, (target, other) = self.home, self.others
        ids = dict(zip(self.nodes, self.ids, strict=True))
        setslot = ("CLUSTER", "SETSLOT", self.slot)
        target.ask(*setslot, "IMPORTING", ids[source])
        source.ask(*setslot, "MIGRATING", ids[target])
        yield
        there = ("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS")
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", self.slot, 4):
            source.ask(*there, *keys)
            yield
        for node in (target, source, other):
            node.ask(*setslot, "NODE", ids[target])
            yield


@pytest.fixture
def cluster(start_valkey: Start) -> Cluster:
    return Cluster(start_valkey)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


async def check(shelf: Shelf) -> None:
    """See that nothing is stale, and what is stored is used."""
    assert (await shelf.read())[0] == shelf.books
    await shelf.write()
    assert (await shelf.read())[0] == shelf.books
    value, status = await shelf.read()
    assert (value, status.split(";")[1]) == (shelf.books, " hit")


async def test_keys_are_on_the_node_to_which_any_other_one_sends(
    database_url: str,
    cluster: Cluster,
    shelf: Shelf,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for node in (*cluster.others, cluster.home):
        async with shelf.served(database_url, node.url):
            await check(shelf)
            assert (await shelf.health())["status"] == "ok"
            assert (await shelf.health())["detail"]["openings"] == 0
    assert cluster.home.ask("KEYS", "*:entry:*")
    for node in cluster.others:
        assert not node.ask("KEYS", "*")
    assert not warnings(caplog)


def test_a_node_that_names_all_others_is_not_asked_again_before_them() -> None:
    """One that is cut off from them answers, and says that the cluster is down."""
    slots = [[0, 9, [b"a", 1, b"id"]], [10, 16383, [b"b", 1, b"id"], [b"c", 1, b"id"]]]
    link, asked = Link("redis://a:1", 1, print), []
    for _ in range(6):
        link.learn(slots)
        link.go_elsewhere()
        asked.append(link.address[0])
    assert "".join(asked) == "bcabca"


async def use(
    client: httpx.AsyncClient, urls: Sequence[str], user: Person, turn: int
) -> int:
    """Write at one process, and read at each twice; return how often that was a hit."""
    body = {"email": user.email, "first_name": "Ann", "last_name": f"L{turn}"}
    where = f"{urls[turn % len(urls)]}/users/{user.id}"
    written = await client.put(where, headers=user.headers, json=body)
    assert written.status_code == 200
    hits = 0
    for url in (*urls, *urls):
        answer = await client.get(f"{url}/users/me", headers=user.headers)
        assert answer.status_code == 200
        assert answer.json()["last_name"] == f"L{turn}"
        status = answer.headers["cache-status"]
        hits += "hit" in status and "fallback" not in status
    return hits


async def health_of(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"{url}/readyz")).json()["parts"]
    cache: dict[str, Any] = found["cache"]
    return cache


@pytest.mark.parametrize("storage", ["redis"], indirect=True)
async def test_machines_on_one_cluster_answer_nothing_stale_while_their_slot_is_moved(
    settings: Settings,
    cluster: Cluster,
    user: Person,
    run_service: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    storage: str,
) -> None:
    """Two processes that have no folder in common, and begin at different nodes."""
    urls = []
    for number, node in enumerate(cluster.nodes[:2]):
        monkeypatch.setenv("REDIS_URL", node.url)
        folder = tmp_path / f"machine{number}"
        folder.mkdir()
        urls.append(run_service("--host", settings.host, cwd=folder))
    hits, steps = 0, cluster.move()
    async with httpx.AsyncClient(timeout=60) as client:
        for turn in range(READS // 4):
            hits += await use(client, urls, user, turn)
            next(steps, None)
        assert next(steps, "moved") == "moved"
        for url in urls:
            health = await health_of(client, url)
            assert (health["status"], health["detail"]["openings"]) == ("ok", 0)
    assert hits > READS // 2  # but for those after a process has changed its node
    for number in range(2):
        assert "WARNING" not in (tmp_path / f"service{number}.log").read_text()


class Sentinels:
    """A primary with a replica, and three processes that watch over them."""

    def __init__(self, start: Start, folder: Path, stack: ExitStack) -> None:
        self.primary = start()
        self.replica = start("--replicaof", f"127.0.0.1 {self.primary.port}")
        eventually(lambda: self.knows("master_link_status") == "up")
        self.ports = [free_port() for _ in range(3)]
        for port in self.ports:
            config = folder / f"sentinel{port}.conf"
            config.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
                f"sentinel monitor library 127.0.0.1 {self.primary.port} 2\n"
                "sentinel down-after-milliseconds library 500\n"
                "sentinel failover-timeout library 2000\n"
            )
            process = stack.enter_context(
                subprocess.Popen(
                    [program(), config, "--sentinel"], stdout=subprocess.DEVNULL
                )
            )
            stack.callback(process.kill)
        eventually(lambda: all(map(self._sees_all, self.ports)))

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"redis+sentinel://{hosts}/library/0"

    @property
    def home(self) -> Valkey:
        """The server that is the primary now."""
        return self.replica if self.knows("role") == "master" else self.primary

    def kill(self, server: Valkey) -> None:
        server.stop()

    def knows(self, what: str) -> str:
        """What the replica says of how it stands."""
        return str(self.replica.ask("INFO", "replication")[what])

    def _sees_all(self, port: int) -> bool:
        with suppress(RedisError), Redis(port=port) as client:
            about = client.sentinel_master("library")
            return (about["num-slaves"], about["num-other-sentinels"]) == (1, 2)
        return False


@pytest.fixture
def sentinels(start_valkey: Start, tmp_path: Path) -> Iterator[Sentinels]:
    with ExitStack() as stack:
        yield Sentinels(start_valkey, tmp_path, stack)


@pytest.mark.parametrize("storage", ["redis"], indirect=True)
@pytest.mark.parametrize("kind", ["cluster", "sentinels"])
async def test_no_request_fails_while_a_replica_takes_the_place_of_its_primary(
    settings: Settings,
    make_user: MakeUser,
    run_service: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    storage: str,
    kind: str,
) -> None:
    """Two processes under load, of one machine, each at the same address."""
    place: Cluster | Sentinels = request.getfixturevalue(kind)
    monkeypatch.setenv("REDIS_URL", place.url)
    urls = [run_service("--host", settings.host) for _ in range(2)]
    people = [await make_user() for _ in range(4)]
    primary = place.home
    hits, hit, ended = Counter[Valkey](), asyncio.Event(), asyncio.Event()

    async with httpx.AsyncClient(timeout=60) as client, asyncio.TaskGroup() as load:

        async def live(user: Person) -> None:
            for turn in count():
                if found := await use(client, urls, user, turn):
                    hits[place.home] += found
                    hit.set()
                if ended.is_set():
                    break
                await asyncio.sleep(0.05)

        async def all_are(status: str) -> None:
            async with asyncio.timeout(PATIENCE):
                for url in urls:
                    while (await health_of(client, url))["status"] != status:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)

        for user in people:
            load.create_task(live(user))
        await hit.wait()
        place.kill(primary)
        await all_are("degraded")
        hit.clear()
        await all_are("ok")
        await hit.wait()
        ended.set()
    assert set(hits) == {primary, place.home}
