"""What a hit costs, what a miss adds, and what the cache costs when it is off."""

from contextlib import ExitStack

from benchmarks import environments, load, processes
from benchmarks.bench import Bench, Running, cpu, latency, rate
from benchmarks.contenders import (
    ALL,
    FC2_MEMORY,
    FC2_REDIS,
    NONE,
    OURS,
    OURS_MEMORY,
    OURS_REDIS,
    PEERS,
    PREBUILT,
)
from benchmarks.load import Load
from benchmarks.report import Goal, Sample, Table

ROUTES = {
    "/users": "50 users",
    "/users/7": "one user",
    "/users/7/keys": "10 keys",
    "/large": "120 kB",
    "/slow": "200 ms",
    "/cheap": "cheap",
}
SERVICE_PATHS = ["/users/me", "/users/", "/users/?user_id=7", "/users/keys"]
AT_ONCE = 16
CONNECTIONS = (1, AT_ONCE, 64)
NAMES = [each.name for each in ALL]
HANDLED = "no cache"


def measure(bench: Bench) -> None:
    """Serve all contenders side by side, and measure them in turn."""
    with ExitStack() as stack:
        serving = {each.name: stack.enter_context(bench.serving(each)) for each in ALL}
        for name in NAMES:
            for path in ROUTES:
                load.get(serving[name].server, path)
        _by_connections(bench, serving)
        _by_route(bench, serving)
        _misses(bench, serving)


def _by_connections(bench: Bench, serving: dict[str, Running]) -> None:
    found: dict[int, dict[str, list[Load]]] = {}
    for connections in CONNECTIONS:
        bench.say(f"hits with {connections} connections")

        def send(name: str, connections: int = connections) -> Load:
            return serving[name].send("/users", connections, bench.seconds)

        found[connections] = bench.in_turn(NAMES, send)
    limit = {c: cpu(found[c][PREBUILT.name]) for c in CONNECTIONS}
    most = {c: rate(found[c][PREBUILT.name]) for c in CONNECTIONS}
    plural = {c: f"{c} connection{'s' if c > 1 else ''}" for c in CONNECTIONS}
    bench.tables.append(
        Table(
            "A hit: processor time",
            "The server's processor time per request for the list of 50 users, as a "
            "multiple of the same route with the same dependencies that returns a "
            f"prebuilt `Response`, which took {_microseconds(limit)} µs with "
            f"{_listed(CONNECTIONS)} connections. Redis' own time is not in it.",
            ["", *plural.values()],
            [
                [name, *(cpu(found[c][name]).to(limit[c]).ratio() for c in CONNECTIONS)]
                for name in NAMES
            ],
        )
    )
    bench.tables.append(
        Table(
            "A hit: requests per second",
            "Of the same runs, as a multiple of the route with a prebuilt `Response`: "
            f"{', '.join(f'{most[c].middle:.0f}' for c in CONNECTIONS)} per second. "
            "Here the way to Redis and back counts too.",
            ["", *plural.values()],
            [
                [name, *(rate(found[c][name]).to(most[c]).ratio() for c in CONNECTIONS)]
                for name in NAMES
            ],
        )
    )
    for ours, connections, goal in (
        (OURS_MEMORY, AT_ONCE, 1.3),
        (OURS_REDIS, AT_ONCE, 1.8),
        (OURS_REDIS, 1, 2.2),
    ):
        own = cpu(found[connections][ours.name]).to(limit[connections]).middle
        bench.goals.append(
            Goal(
                f"{ours.backend} hit, {plural[connections]}: "
                "processor time, of a prebuilt `Response`",
                goal,
                own,
            )
        )
    for ours, theirs in ((OURS_MEMORY, FC2_MEMORY), (OURS_REDIS, FC2_REDIS)):
        rates = found[AT_ONCE]
        own = rate(rates[ours.name]).to(rate(rates[theirs.name])).middle
        what = f"{ours.backend} hit: requests per second, of fastapi-cache2"
        bench.goals.append(Goal(what, 3, own, least=True))


def _by_route(bench: Bench, serving: dict[str, Running]) -> None:
    found: dict[str, dict[str, list[Load]]] = {}
    for path, about in ROUTES.items():
        bench.say(f"hits of each route: {about}")

        def send(name: str, path: str = path) -> Load:
            return serving[name].send(path, AT_ONCE, bench.seconds)

        found[path] = bench.in_turn(NAMES, send)
    handled = {path: cpu(found[path][HANDLED]) for path in ROUTES}
    bench.tables.append(
        Table(
            "A hit instead of the handler",
            "The server's processor time per request as a multiple of the same route "
            f"without a cache, {AT_ONCE} connections. Below 1, the cache saves work. "
            f"Without a cache the routes took {_microseconds(handled)} µs.",
            ["", *ROUTES.values()],
            [
                [
                    name,
                    *(
                        cpu(found[path][name]).to(handled[path]).ratio()
                        for path in ROUTES
                    ),
                ]
                for name in NAMES
            ],
        )
    )
    for ours in OURS:
        for path, about in ROUTES.items():
            own = cpu(found[path][ours.name]).to(handled[path]).middle
            bench.goals.append(
                Goal(
                    f"{ours.backend} hit, {about}: processor time, of the handler",
                    1.0,
                    own,
                )
            )


def _misses(bench: Bench, serving: dict[str, Running]) -> None:
    bench.say("misses")
    names = [each.name for each in (NONE, *OURS, *PEERS)]

    def send(name: str) -> Load:
        return serving[name].send("/cheap?nonce=", 1, bench.seconds)

    found = bench.in_turn(names, send)
    none = found[HANDLED]
    rows, added = [], {}
    for name in names[1:]:
        added[name] = cpu(found[name]).minus(cpu(none))
        waited = latency(found[name]).minus(latency(none))
        rows.append([name, added[name].milliseconds(), waited.milliseconds()])
    bench.tables.append(
        Table(
            "What a miss adds",
            "To the cheap route, each time with another parameter, with 1 connection: "
            "milliseconds of the server's processor time, and of waiting. Without a "
            f"cache the request took {latency(none).middle * 1e3:.2g} ms.",
            ["", "processor time, ms", "waiting, ms"],
            rows,
        )
    )
    for ours, goal in ((OURS_MEMORY, 0.1), (OURS_REDIS, 0.4)):
        own = added[ours.name].middle * 1e3
        bench.goals.append(
            Goal(f"{ours.backend}: processor time that a miss adds", goal, own, "ms")
        )


def measure_service(bench: Bench) -> None:
    """Measure the whole rendered service: logged in, and with the cache off."""
    modes = {
        "not rendered": ("none", {}),
        "off": ("redis", {"CACHE_ENABLED": "false"}),
        "memory": ("memory", {}),
        "Redis": ("redis", {}),
    }
    with ExitStack() as stack:
        folder = bench.folder / "redis-of-services"
        folder.mkdir()
        redis = stack.enter_context(processes.redis(folder))
        database = f"sqlite+aiosqlite:///{bench.folder / 'service.db'}"
        shared = {
            "DATABASE_URL": database,
            "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
            "SECRET_KEY": "only-for-the-benchmark-3nV8xQ2mT7wK1zR5",
            "PYTHONPATH": str(environments.ROOT),
        }
        lines = people(bench, 50, shared)
        bearer = {"Authorization": f"Bearer {lines.pop().split()[1]}"}
        key = {"X-API-Key": lines[0].split()[1]}
        running = {}
        for mode, (cache, changes) in modes.items():
            project = bench.project(cache)
            server = stack.enter_context(
                bench.uvicorn(
                    str(project / ".venv/bin/python"),
                    "benchmarks.apps.service:create_app",
                    project,
                    1,
                    shared | changes,
                )
            )
            running[mode] = Running(server, redis)
        for target in running.values():
            for path in (*SERVICE_PATHS, *(f"/prebuilt{p}" for p in SERVICE_PATHS)):
                load.get(target.server, path, bearer)
                load.get(target.server, path, key)
        _disabled(bench, running, bearer)
        _authenticated(bench, running, bearer, key)


def people(bench: Bench, users: int, environment: dict[str, str]) -> list[str]:
    """Fill the services' database; return a path with an API key per user, a token."""
    project = bench.project("redis")
    environments.run(
        str(project / ".venv/bin/api-admin"),
        "db",
        "upgrade",
        cwd=project,
        settings=environment,
    )
    program = ("-m", "benchmarks.apps.people", str(users))
    python = str(project / ".venv/bin/python")
    printed = environments.run(python, *program, cwd=project, settings=environment)
    return printed.splitlines()


def _disabled(
    bench: Bench, running: dict[str, Running], headers: dict[str, str]
) -> None:
    bench.say("the service with its cache off")

    def send(mode: str) -> Load:
        return running[mode].send("/users/", AT_ONCE, bench.seconds, headers=headers)

    found = bench.in_turn(["not rendered", "off"], send)
    ratio = cpu(found["off"]).to(cpu(found["not rendered"]))
    bench.tables.append(
        Table(
            "The cache when it is off",
            "Processor time of `GET /users/` in the whole service, for an admin with a "
            "token: `CACHE_ENABLED=false` against a service that was rendered without "
            "a cache.",
            ["", "of a service without a cache"],
            [["CACHE_ENABLED=false", ratio.ratio()]],
        )
    )
    bench.goals.append(
        Goal("caching off: processor time, of a service without it", 1.03, ratio.middle)
    )


def _authenticated(
    bench: Bench,
    running: dict[str, Running],
    bearer: dict[str, str],
    key: dict[str, str],
) -> None:
    rows = []
    for kind, headers in (("token", bearer), ("API key", key)):
        for path in SERVICE_PATHS:
            bench.say(f"the service: {path} by {kind}")

            def send(
                what: str, path: str = path, headers: dict[str, str] = headers
            ) -> Load:
                mode, _, prefix = what.partition(" ")
                target = running[mode]
                return target.send(
                    prefix + path, AT_ONCE, bench.seconds, headers=headers
                )

            names = ["off", "memory", "memory /prebuilt", "Redis", "Redis /prebuilt"]
            found = bench.in_turn(names, send)
            of = {name: cpu(found[name]) for name in names}
            rows.append(
                [
                    f"`{path}`, {kind}",
                    of["off"].microseconds(),
                    of["memory"].to(of["off"]).ratio(),
                    of["memory"].to(of["memory /prebuilt"]).ratio(),
                    of["Redis"].to(of["off"]).ratio(),
                    of["Redis"].to(of["Redis /prebuilt"]).ratio(),
                ]
            )
    bench.tables.append(
        Table(
            "The whole service, logged in",
            "Processor time of a hit with all that the service does besides: it makes "
            "sure that who asks is still the same, in the look-up of the entry, and "
            "logs. Against the same service with its cache off, and against a route of "
            "the same service with the same dependencies that returns a prebuilt "
            "`Response`.",
            [
                "",
                "cache off, µs",
                "memory, of off",
                "memory, of prebuilt",
                "Redis, of off",
                "Redis, of prebuilt",
            ],
            rows,
        )
    )


def _microseconds(samples: dict[str, Sample] | dict[int, Sample]) -> str:
    return ", ".join(f"{sample.middle * 1e6:.0f}" for sample in samples.values())


def _listed(numbers: tuple[int, ...]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}"
