"""How the cost grows: with workers, users, bodies and entries. One plot each."""

from contextlib import ExitStack

from benchmarks import environments, load, processes
from benchmarks.bench import Bench, Running, cpu, rate
from benchmarks.contenders import NONE, OURS_MEMORY, OURS_REDIS, PREBUILT
from benchmarks.hits import people
from benchmarks.load import Load
from benchmarks.plot import Line, plot


def measure(bench: Bench) -> None:
    _bodies(bench)
    _entries(bench)
    _workers(bench)
    _users(bench)


def _bodies(bench: Bench) -> None:
    sizes = [1_000, 10_000, 100_000, 1_000_000]
    contenders = (NONE, PREBUILT, OURS_MEMORY, OURS_REDIS)
    with ExitStack() as stack:
        running = {c.name: stack.enter_context(bench.serving(c)) for c in contenders}
        lines: dict[str, list[tuple[float, float]]] = {name: [] for name in running}
        for size in sizes:
            bench.say(f"bodies of {size:,} bytes")

            def send(name: str, path: str = f"/body/{size}") -> Load:
                return running[name].send(path, 16, bench.seconds)

            for name, found in bench.in_turn(list(running), send).items():
                lines[name].append((size, cpu(found).middle * 1e6))
    bench.plots["bodies"] = plot(
        "Larger bodies",
        "bytes of the body",
        "µs of processor time per request",
        [Line(name, points) for name, points in lines.items()],
    )


def _entries(bench: Bench) -> None:
    counts = [1_000, 10_000, 100_000] + ([] if bench.quick else [1_000_000])
    lines = []
    for contender in (OURS_MEMORY, OURS_REDIS):
        points: list[tuple[float, float]] = []
        changes = {"CACHE_MAX_BYTES": "4000000000", "CACHE_MAX_ENTRIES": "10000000"}
        with bench.serving(contender, settings=changes) as running:
            stored = 0
            for count in counts:
                bench.say(f"{contender.name} with {count:,} entries")
                load.post(running.server, f"/fill/{count - stored}?first={stored}")
                stored = count
                found = [
                    running.send("/users/7", 16, bench.seconds)
                    for _ in range(bench.rounds)
                ]
                points.append((count, cpu(found).middle * 1e6))
        lines.append(Line(contender.name, points))
    bench.plots["entries"] = plot(
        "More entries", "entries in the cache", "µs of processor time per hit", lines
    )


def _workers(bench: Bench) -> None:
    workers = (1, 2, 3, 4)
    contenders = (NONE, PREBUILT, OURS_REDIS)
    lines: dict[str, list[tuple[float, float]]] = {c.name: [] for c in contenders}
    for count in workers:
        bench.say(f"{count} workers")
        with ExitStack() as stack:
            running = {
                c.name: stack.enter_context(bench.serving(c, count)) for c in contenders
            }

            def send(name: str, running: dict[str, Running] = running) -> Load:
                return running[name].send("/users", 64, bench.seconds)

            for name, found in bench.in_turn(list(running), send).items():
                lines[name].append((count, rate(found).middle))
    bench.plots["workers"] = plot(
        "More workers",
        "worker processes",
        "requests per second",
        [Line(name, points) for name, points in lines.items()],
        logarithmic=False,
    )


def _users(bench: Bench) -> None:
    counts = [1, 10, 100, 1_000] + ([] if bench.quick else [10_000])
    folder = bench.folder / "growth"
    folder.mkdir()
    with ExitStack() as stack:
        redis = stack.enter_context(processes.redis(folder))
        shared = {
            "DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'service.db'}",
            "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
            "SECRET_KEY": "only-for-the-benchmark-3nV8xQ2mT7wK1zR5",
            "PYTHONPATH": str(environments.ROOT),
        }
        bench.say("distinct users")
        keys = people(bench, counts[-1], shared)[:-1]
        running = {}
        for name, cache, changes in (
            ("cache off", "redis", {"CACHE_ENABLED": "false"}),
            ("memory", "memory", {}),
            ("Redis", "redis", {}),
        ):
            project = bench.project(cache)
            python = str(project / ".venv/bin/python")
            app = "app.main:create_app"
            server = stack.enter_context(
                bench.uvicorn(python, app, project, 1, shared | changes)
            )
            running[name] = Running(server, redis)
        lines: dict[str, list[tuple[float, float]]] = {name: [] for name in running}
        for count in counts:
            bench.say(f"{count:,} distinct users")
            requests = keys[:count]

            def send(name: str, requests: list[str] = requests) -> Load:
                target = running[name]
                return target.send("/", 64, bench.seconds, in_turn=requests)

            for name in ("memory", "Redis"):  # so that all of them are stored
                running[name].send("/", 64, 1 + count / 400, in_turn=requests)
            for name, found in bench.in_turn(list(running), send).items():
                lines[name].append((count, cpu(found).middle * 1e6))
    bench.plots["users"] = plot(
        "More users",
        "users who take turns at GET /users/me, each with an API key",
        "µs of processor time per request",
        [Line(name, points) for name, points in lines.items()],
    )
