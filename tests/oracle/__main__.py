"""Run scenarios with the cache on and off: `python -m tests.oracle`, in a service.

Exits with 1, and prints the smallest scenario it found, where two answers differ.
The cache is the one that the environment names: in memory, or with REDIS_ENABLED and
REDIS_URL in Redis.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import Flaky
from sqlalchemy import make_url

from tests.oracle.compare import Comparison, is_hit
from tests.oracle.scenario import Scenario, Step, scenarios
from tests.oracle.source import Route, choices
from tests.servers import free_port

ENVIRONMENT = {
    "ENV_FILE": "",
    "ENVIRONMENT": "test",
    "SECRET_KEY": "only-for-tests-8Jq2vX7mZr4TnK1wYc5LdG9s",
    "ACCESS_TOKEN_TTL": "86400",
    "LOG_CATEGORIES": "NONE",
    "RATE_LIMIT_ENABLED": "false",
    "PYTHONHASHSEED": "0",
}
MODES = {
    "off": {"CACHE_ENABLED": "false", "REDIS_ENABLED": "false"},
    "on": {"CACHE_ENABLED": "true"},
}


class DifferentError(Exception):
    """Two answers differ, or one process did not answer."""

    def __init__(self, scenario: Scenario, differences: list[str], log: str) -> None:
        super().__init__("\n".join(differences))
        self.scenario = scenario
        self.differences = differences
        self.log = log

    def report(self) -> str:
        return (
            f"{self.scenario.source()}\n{self.log}\n"
            f"Without the cache: with it\n  " + "\n  ".join(self.differences) + "\n\n"
            f"Replay: {json.dumps(self.scenario.as_data())}"
        )


class Worker:
    def __init__(self, folder: Path, name: str, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.oracle.worker", str(folder), name],
            env=os.environ | ENVIRONMENT | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / f"{name}.log").open("w"),
            text=True,
        )

    def tell(self, **command: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the worker has ended")
        heard: dict[str, Any] = json.loads(line)
        return heard

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


class Oracle:
    """Two workers, what may be drawn, and what was seen."""

    def __init__(self, off: Worker, on: Worker) -> None:
        self.off, self.on = off, on
        self.off.tell(do="fill")
        if died := self.off.hear():
            raise RuntimeError(died)
        for worker in (off, on):
            worker.tell(do="warm up")
        for worker in (off, on):
            if "steps" not in (heard := worker.hear()):
                raise RuntimeError(heard)
        self.off.tell(do="choices")
        self.drawn = self.off.hear()
        self.scenarios = 0
        self.refused: Counter[tuple[str, str]] = Counter()
        self.reads: Counter[tuple[str, str]] = Counter()
        self.hits: Counter[tuple[str, str]] = Counter()

    def check(self, scenario: Scenario) -> None:
        """Raise DifferentError where the two differ."""
        self.scenarios += 1
        off, on, scenario = self._run(scenario)
        if "died" in on:
            raise DifferentError(scenario, [f"with the cache: {on['died']}"], "")
        comparison, log = Comparison(), []
        both = zip(scenario.steps, off["steps"], on["steps"], strict=True)
        for i, (step, without, with_cache) in enumerate(both):
            log.append(f"{i}. {_shown(step)}{without['request']}")
            self._count(scenario, with_cache["reads"])
            if found := comparison.step(without, with_cache, together=step.together):
                raise DifferentError(scenario, found, "\n".join(log))

    def _run(
        self, scenario: Scenario
    ) -> tuple[dict[str, Any], dict[str, Any], Scenario]:
        """Run it in both, without the routes that the start refuses by name."""
        while True:
            for worker in (self.off, self.on):
                worker.tell(do="run", scenario=scenario.as_data())
            off, on = self.off.hear(), self.on.hear()
            if "steps" not in off:
                raise RuntimeError(f"{off}\n{scenario.source()}")
            if "refused" not in on:
                return off, on, scenario
            said = re.findall(r"(?<![a-z0-9])(r\d)b?(?![a-z0-9])", on["refused"])
            named = [name for name, _ in scenario.named() if name in said]
            if not named:
                what = [f"refused, and no route named: {on['refused']}"]
                raise DifferentError(scenario, what, "")
            for name, route in scenario.named():
                if name in named:
                    self.refused.update(route.choices())
            scenario = replace(scenario, without=[*scenario.without, *named])

    def _count(self, scenario: Scenario, reads: list[dict[str, Any]]) -> None:
        found = re.match(r"(?:/v1)?/(r\d)", reads[0]["path"])
        route = dict(scenario.named()).get(found[1]) if found else None
        for choice in [("all", "routes"), *(route.choices() if route else [])]:
            self.reads[choice] += len(reads)
            self.hits[choice] += sum(map(is_hit, reads))

    def search(
        self, options: argparse.Namespace, fixed: dict[str, Any]
    ) -> DifferentError | None:
        """Draw scenarios; return the difference that was found, if any."""
        last: list[DifferentError] = []

        @seed(options.seed)
        @settings(
            max_examples=options.examples,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink][: 1 + options.shrink],
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            print_blob=False,
            verbosity=Verbosity.quiet,
        )
        @given(scenarios(**self.drawn, fixed=fixed, without=options.without))
        def draw(scenario: Scenario) -> None:
            try:
                self.check(scenario)
            except DifferentError as error:
                last[:] = [error]
                raise

        try:
            draw()
        except DifferentError as error:
            return error
        except Flaky:
            last[0].differences.append("(not each time)")
            return last[0]
        return None

    def replay(self, file: Path) -> DifferentError | None:
        try:
            self.check(Scenario.from_data(json.loads(file.read_text())))
        except DifferentError as error:
            return error
        return None

    def coverage(self) -> str:
        lines = [f"{self.scenarios} scenarios; requests and hits of routes with:"]
        for choice in sorted({*self.reads, *self.refused}):
            counted = f"{self.reads[choice]:6} {self.hits[choice]:6}"
            refused = f" refused: {n}" if (n := self.refused[choice]) else ""
            lines.append(f"{counted}  {' '.join(choice)}{refused}")
        return "\n".join(lines)


def _shown(step: Step) -> str:
    said = [
        f"{each.name}={value}"
        for each in fields(step)
        if each.name != "change" and (value := getattr(step, each.name)) != each.default
    ]
    return f"({', '.join(said)}) " if said else ""


@contextmanager
def oracle(server: bool) -> Iterator[Oracle]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="oracle-")))
        shared = {}
        if server:  # one that is there in the variant with PostgreSQL
            url = f"postgresql+asyncpg://postgres:postgres@127.0.0.1:{free_port()}/"
            run_server = import_module("app.database.local").local_server
            (folder / "server").mkdir()
            stack.enter_context(
                run_server(
                    folder / "server", make_url(f"{url}postgres"), temporary=True
                )
            )
            shared["ORACLE_POSTGRESQL"] = f"{url}postgres"
        workers = [Worker(folder, name, shared | MODES[name]) for name in MODES]
        for worker in workers:
            stack.callback(worker.stop)
        yield Oracle(*workers)


def each_choice(oracle: Oracle, options: argparse.Namespace) -> bool:
    """Search with each choice of each dimension alone; print what was found."""
    plain: dict[str, Any] = {f.name: f.default for f in fields(Route)}
    plain |= {"around": [], "mounted": False, "apps": 1, "paths": "own"}
    searches: dict[str, dict[str, Any]] = {}
    for name, values in choices().items():
        for value in values:
            several = isinstance(plain[name], tuple)
            searches[f"{name} {value}"] = {name: (value,) if several else value}
    searches |= {
        "mounted": {"mounted": True},
        "apps 2": {"apps": 2, "sees": ("principal",)},
    }
    searches |= {name: {"around": [name]} for name in ("gzip", "tenant")}
    searches["edited rule"] = {"around": ["edited rule"], "sees": ("principal",)}
    searches |= {path: {"paths": [path]} for path in oracle.drawn["reads"]}
    different = False
    for title, fixed in searches.items():
        if options.each and not any(word in title for word in options.each):
            continue
        free: set[str] = set()
        if {"form", "key", "mounted", "apps"} & fixed.keys():
            free |= {"sees", "answer", "key"} - fixed.keys()  # they show mistakes there
        base = {name: value for name, value in plain.items() if name not in free}
        found = oracle.search(options, base | fixed)
        different |= found is not None
        print(f"{title:32}", found.differences[0] if found else "equal", flush=True)
        if found and options.shrink:
            print(found.report())
    return different


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--examples", type=int, default=100, help="scenarios")
    add("--seed", type=int, default=0)
    add("--no-shrink", dest="shrink", action="store_false", help="the first it finds")
    add("--each", nargs="*", help="search with each choice alone that has these words")
    add("--without", nargs="*", default=[], help="leave these choices out")
    add("--replay", type=Path, help="a file with a scenario")
    add("--postgresql", action="store_true", help="on a server of its own, not SQLite")
    add("--coverage", action="store_true", help="print how often each choice was hit")
    options = parser.parse_args()
    with oracle(options.postgresql) as made:
        if options.each is not None:
            return int(each_choice(made, options))
        replay: Path | None = options.replay
        found = made.replay(replay) if replay else made.search(options, {})
        if found:
            print(found.report())
        if options.coverage or not found:
            print(made.coverage())
        return int(found is not None)


if __name__ == "__main__":
    sys.exit(main())
