"""The command: `uv run --group benchmarks python -m benchmarks`."""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import environments, growth, hits, load, others
from benchmarks.bench import Bench
from benchmarks.contenders import NONE, PEERS
from benchmarks.processes import Failed, ended_by_signals
from benchmarks.report import Table

PARTS: dict[str, tuple[str, Callable[[Bench], None]]] = {
    "hits": (
        "hits, misses and the handlers they save, for all contenders",
        hits.measure,
    ),
    "service": (
        "the whole service: logged in, and with its cache off",
        hits.measure_service,
    ),
    "stampede": ("500 requests at once for what is not cached", others.stampede),
    "invalidation": (
        "an update, among up to a million other keys",
        others.invalidation,
    ),
    "memory": ("memory under a million entries", others.memory),
    "start-up": ("rendering, importing, starting", others.start_up),
    "first-tests": ("a fresh project's first test run", others.first_tests),
    "growth": ("the plots: bodies, entries, workers, users", growth.measure),
}
PAGE = environments.ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- measured -->", "<!-- end of what was measured -->"


def main() -> int:
    options = _options()
    bench: Bench | None = None
    try:
        load.find_generator()
        with ended_by_signals(), tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder), options.quick, _say)
            begun = time.monotonic()
            # The longest part, the first on the page, is measured last.
            parts = options.part or [
                name for name in PARTS if name != "first-tests" or not options.quick
            ]
            for name in reversed(parts):
                tables, bench.tables = bench.tables, []
                goals, bench.goals = bench.goals, []
                PARTS[name][1](bench)
                bench.tables += tables
                bench.goals += goals
            text = _results(bench, parts, time.monotonic() - begun)
    except Failed as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped, and all that was started with it.", file=sys.stderr)
        return 130
    if options.write:
        _write(bench, text)
    else:
        print(text)
    return 0


def _options() -> argparse.Namespace:
    parts = "\n".join(f"  {name:13} {about}" for name, (about, _) in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measure the rendered service's cache beside its peers, in turn, "
        "on the same work.\nWhat it starts is stopped at the end, and on Ctrl-C.",
        epilog=f"parts:\n{parts}\n\n"
        "It needs Linux, uv, and wrk (apt-get install wrk). Two processors are\n"
        "enough: servers get one, the generator and Redis the other. A full run takes\n"
        "about 40 minutes, --quick about 10. Ratios of processor time hold on a busy\n"
        "machine too; requests per second and waits do not.",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="fewer and shorter rounds, up to 100,000 keys, no first-tests",
    )
    parser.add_argument(
        "--part",
        action="append",
        choices=list(PARTS),
        help="only this; may be repeated",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="put the results into docs/benchmarks.md, instead of printing them",
    )
    return parser.parse_args()


def _say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S}  {text}", file=sys.stderr, flush=True)


def _results(bench: Bench, parts: list[str], seconds: float) -> str:
    """Return all that was measured, as Markdown."""
    kind = "a quick run" if bench.quick else "a full run"
    if missing := [f"`{name}`" for name in PARTS if name not in parts]:
        kind += f" without {', '.join(missing)}"
    lines = [
        f"Measured on {datetime.now(UTC):%d %B %Y} by {kind} of {seconds / 60:.0f} "
        f"minutes: {bench.rounds} interleaved rounds of {bench.seconds:g} s. Cells are "
        "medians with the lowest and the highest round.",
        "",
        f"Machine: {_machine()}. Servers ran on one processor, the generator and Redis "
        "on another; one worker, uvloop and httptools.",
    ]
    if bench.goals:
        lines += [
            "",
            "### Goals",
            "",
            "| goal | limit | measured | |",
            "| --- | ---: | ---: | --- |",
        ]
        lines += [f"| {' | '.join(goal.row())} |" for goal in bench.goals]
    for table in bench.tables:
        lines += ["", table.markdown()]
    lines += ["", _versions(bench).markdown()]
    return "\n".join(lines)


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cpuinfo = Path("/proc/cpuinfo").read_text()
    models = [line for line in cpuinfo.splitlines() if line.startswith("model name")]
    model = models[0].partition(": ")[2] if models else platform.machine()
    return (
        f"{os.cpu_count()} processors ({model}), {memory:.0f} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def _versions(bench: Bench) -> Table:
    names = ["fastapi", "starlette", "pydantic", "sqlalchemy", "aiosqlite", "uvicorn"]
    names += ["uvloop", "httptools", "redis"]
    columns = {"peers": environments.versions(bench.environment(NONE))}
    for peer in PEERS:
        packages = environments.versions(bench.environment(peer))
        columns.setdefault(peer.environment, packages)
    columns["service"] = environments.versions(bench.project("redis") / ".venv")
    own = {p.requires[0].partition("[")[0].partition("==")[0] for p in PEERS}
    del columns["peers"]
    rows = []
    for name in [*sorted(own), *names]:
        rows.append([name, *(found.get(name, "") for found in columns.values())])
    return Table(
        "Versions",
        "What was installed, in the environment of each.",
        ["", *(name.replace("_", "-") for name in columns)],
        rows,
    )


def _write(bench: Bench | None, text: str) -> None:
    if bench is None:
        return
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
    folder = PAGE.with_suffix("")
    folder.mkdir(exist_ok=True)
    for name, svg in bench.plots.items():
        (folder / f"{name}.svg").write_text(svg)
    _say(f"written: {PAGE}")


if __name__ == "__main__":
    sys.exit(main())
