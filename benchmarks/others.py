"""Stampedes, invalidation, memory, and the time until something runs."""

import json
import statistics
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import environments, load
from benchmarks.bench import Bench, Running
from benchmarks.contenders import ALL, NONE, OURS, OURS_MEMORY, OURS_REDIS, PEERS
from benchmarks.plot import Line, plot
from benchmarks.processes import Failed
from benchmarks.report import Goal, Sample, Table

BURST = 500  # requests at once


def stampede(bench: Bench) -> None:
    """Count how often a slow handler runs when many ask for it at once."""
    rows = []
    for contender in (NONE, *OURS, *PEERS):
        bench.say(f"stampede: {contender.name}")
        runs = []
        # A memory cache is one process's; the others have to share.
        for workers in (1, 4) if contender.backend == "redis" else (1,):
            with bench.serving(contender, workers) as running:
                bench.runs.write_text("")
                load.burst(running.server, "/slow", BURST)
                runs.append(len(bench.runs.read_text()))
        rows.append([contender.name, *map(str, runs), *["–"] * (2 - len(runs))])
        if contender is OURS_REDIS:
            bench.goals.append(
                Goal(f"{BURST} cold requests on 4 workers: runs", 1, runs[1], "runs")
            )
    bench.tables.append(
        Table(
            f"{BURST} requests at once for what is not cached",
            "How often the handler of the 200 ms route ran.",
            ["", "1 worker", "4 workers"],
            rows,
        )
    )


def invalidation(bench: Bench) -> None:
    """Time an update that invalidates, among more and more other keys."""
    counts = [1_000, 10_000, 100_000] + ([] if bench.quick else [1_000_000])
    contenders = [NONE, *(each for each in (*OURS, *PEERS) if each.backend == "redis")]
    waits: dict[str, list[float]] = {}
    stalls: dict[str, list[float]] = {}
    for contender in contenders:
        bench.say(f"invalidation: {contender.name}")
        waits[contender.name], stalls[contender.name] = [], []
        with bench.serving(contender) as running:
            stored = 0
            for count in counts:
                if running.redis is not None:
                    _store_unrelated(running.redis.port, stored, count)
                stored = count
                waited, used = _update(running, bench.rounds * 3)
                waits[contender.name].append(waited)
                stalls[contender.name].append(used)
    rows = [
        [name, *(f"{w * 1e3:.3g} / {u * 1e3:.2g}" for w, u in pairs)]
        for name, pairs in (
            (name, list(zip(waits[name], stalls[name], strict=True))) for name in waits
        )
    ]
    bench.tables.append(
        Table(
            "An update that invalidates, among other keys",
            "Milliseconds that `PUT /users/7` takes / milliseconds of the Redis "
            "server's processor time in it, during which Redis answers nobody. The "
            "columns are how many keys Redis holds that have nothing to do with it.",
            ["", *(f"{count:,}" for count in counts)],
            rows,
        )
    )
    own = stalls[OURS_REDIS.name]
    bench.goals.append(
        Goal(
            f"invalidation among {counts[-1]:,} keys: Redis' time, of that among 1,000",
            1.5,
            own[-1] / own[0],
        )
    )
    bench.plots["invalidation"] = plot(
        "An update that invalidates",
        "keys in Redis that have nothing to do with it",
        "milliseconds",
        [
            Line(name, [(c, w * 1e3) for c, w in zip(counts, wait, strict=True)])
            for name, wait in waits.items()
            if "JSON" not in name
        ],
    )


def _store_unrelated(port: int, start: int, end: int) -> None:
    from redis import Redis

    with Redis(port=port) as client:
        for first in range(start, end, 10_000):
            last = min(first + 10_000, end)
            client.mset({f"unrelated:{n}": b"x" * 100 for n in range(first, last)})


def _update(running: Running, times: int) -> tuple[float, float]:
    """Return the median seconds of an update, and those of Redis' processor time."""
    paths = ("/users", "/users/7", "/users/7/keys")
    waited, used = [], []
    for number in range(times):
        for path in paths:
            load.get(running.server, path)
        user = json.loads(load.get(running.server, "/users/7"))
        user["last_name"] = f"Name{number}"
        redis = running.redis.cpu() if running.redis else 0.0
        start = time.perf_counter()
        load.put(running.server, "/users/7", json.dumps(user))
        waited.append(time.perf_counter() - start)
        used.append((running.redis.cpu() if running.redis else 0.0) - redis)
        if json.loads(load.get(running.server, "/users/7")) != user:
            raise Failed("an update was not seen by the next request")
    return statistics.median(waited), statistics.median(used)


def memory(bench: Bench) -> None:
    """Store many small entries in memory, and see what they take."""
    count = 100_000 if bench.quick else 1_000_000
    rows = []
    for contender in ALL:
        if contender.backend != "memory":
            continue
        bench.say(f"memory: {contender.name}")
        limits = [("no limit", {"CACHE_MAX_BYTES": "4000000000"})]
        if contender is OURS_MEMORY:
            limits.append(("its default limits", {}))
        for about, changes in limits:
            name = contender.name
            if contender is OURS_MEMORY:
                name = f"{name}, {about}"
            if changes:
                changes |= {"CACHE_MAX_ENTRIES": "10000000"}
            with bench.serving(contender, settings=changes) as running:
                before = running.server.memory()
                load.post(running.server, f"/fill/{count}")
                grown = running.server.memory() - before
                rows.append([name, f"{grown / 2**20:.0f}", f"{grown / count:.0f}"])
    bench.tables.append(
        Table(
            f"Memory under {count:,} entries",
            "What the process grew by while entries with bodies of 100 bytes were "
            "stored, each under a key of its own.",
            ["", "MiB", "bytes per entry"],
            rows,
        )
    )


def start_up(bench: Bench) -> None:
    """Time rendering, importing and starting."""
    rows = []
    for cache in ("none", "memory", "redis"):
        bench.say(f"start-up of the service, cache: {cache}")
        project = bench.project(cache)
        python = str(project / ".venv/bin/python")
        imported = []
        for _ in range(bench.rounds + 1):
            start = time.perf_counter()
            environments.run(python, "-c", "import app.main", cwd=project)
            imported.append(time.perf_counter() - start)
        ready = [_start(bench, project, python) for _ in range(bench.rounds)]
        rows.append(
            [
                cache,
                f"{statistics.median(imported[1:]):.2f}",
                f"{statistics.median(ready):.2f}",
            ]
        )
    bench.tables.append(
        Table(
            "Start-up",
            "Seconds from the start of the interpreter until `app.main` is imported, "
            "and until the service answers, with SQLite and migrations that are done.",
            ["cache", "import", "first answer"],
            rows,
        )
    )
    bench.say("rendering")
    rendered = []
    for number in range(bench.rounds):
        start = time.perf_counter()
        environments.render("redis", bench.folder / f"rendered-{number}")
        rendered.append(time.perf_counter() - start)
    sample = Sample(tuple(rendered))
    rows = [["`copier copy`, Redis variant", f"{sample.middle:.2f}"]]
    bench.goals.append(Goal("`copier copy`", 1.5, sample.middle, "s"))
    bench.tables.append(
        Table(
            "From the template to a service",
            "Seconds, with packages that uv has in its cache.",
            ["", "seconds"],
            rows,
        )
    )


def first_tests(bench: Bench) -> None:
    """Time the way from the template to the first green test run."""
    bench.say("fresh project to the first green test run")
    start = time.perf_counter()
    fresh = environments.render("memory", bench.folder / "fresh")
    environments.run(environments.UV, "run", "--quiet", "pytest", "-q", cwd=fresh)
    elapsed = time.perf_counter() - start
    about = "`copier copy` to the end of the first test run, default answers"
    bench.goals.append(Goal("fresh project to a green test run", 60, elapsed, "s"))
    bench.tables.append(
        Table(
            "From the template to a tested service",
            "Seconds, with packages that uv has in its cache.",
            ["", "seconds"],
            [[about, f"{elapsed:.0f}"]],
        )
    )


def _start(bench: Bench, project: Path, python: str) -> float:
    database = f"sqlite+aiosqlite:///{bench.folder / 'start.db'}"
    settings = {"DATABASE_URL": database, "REDIS_ENABLED": "false"}
    admin = str(project / ".venv/bin/api-admin")
    environments.run(admin, "db", "upgrade", cwd=project, settings=settings)
    with ExitStack() as stack:
        start = time.perf_counter()
        stack.enter_context(
            bench.uvicorn(python, "app.main:create_app", project, 1, settings)
        )
        return time.perf_counter() - start
