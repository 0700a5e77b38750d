"""Run scenarios with the cache on and off: `python -m tests.oracle`, in a service.

Exits with 1, and prints the smallest scenario it found, where two answers differ.
The cache is the one that the environment names: REDIS_ENABLED, REDIS_URL; on SQLite,
or on the PostgreSQL server that ORACLE_POSTGRESQL names.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import Flaky

from tests.oracle.compare import Comparison, is_hit
from tests.oracle.scenario import Scenario, scenarios
from tests.oracle.source import Route, choices

ENVIRONMENT = {
    "ENV_FILE": "",
    "ENVIRONMENT": "test",
    "SECRET_KEY": "only-for-tests-8Jq2vX7mZr4TnK1wYc5LdG9s",
    "ACCESS_TOKEN_TTL": "86400",
    "LOG_CATEGORIES": "NONE",
    "PYTHONHASHSEED": "0",
}
OFF = {"CACHE_ENABLED": "false", "REDIS_ENABLED": "false"}


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
            method, path = without["method"], without["path"]
            log.append(f"{i}. {_shown(step)}{without['request']}")
            for each in without["reads"] + with_cache["reads"]:
                each.update(method=method, path=path)
            for each in (*_writes(without), *_writes(with_cache)):
                each.update(method="POST", path="")
            self._count(scenario, path, with_cache["reads"])
            if found := comparison.step(without, with_cache):
                raise DifferentError(scenario, found, "\n".join(log))

    def _run(self, scenario: Scenario) -> tuple[dict[str, Any], ...]:
        """Run it in both, without the routes that the start refuses by name."""
        while True:
            for worker in (self.off, self.on):
                worker.tell(do="run", scenario=scenario.as_data())
            off, on = self.off.hear(), self.on.hear()
            if "steps" not in off:
                raise RuntimeError(f"{off}\n{scenario.source()}")
            if "refused" not in on:
                return off, on, scenario
            named = [name for name, _ in scenario.named() if name in on["refused"]]
            if not named:
                what = [f"refused, and no route named: {on['refused']}"]
                raise DifferentError(scenario, what, "")
            for name, route in scenario.named():
                if name in named:
                    self.refused.update(route.choices())
            scenario = replace(scenario, without=[*scenario.without, *named])

    def _count(self, scenario: Scenario, path: str, reads: list[dict[str, Any]]) -> None:
        hits = sum(map(is_hit, reads))
        name = path.removeprefix("/v1").strip("/").partition("/")[0].rstrip("b")
        seen = [("all", "all")]
        for each, route in scenario.named():
            if name.partition("?")[0].rstrip("b") == each:
                seen += route.choices()
        for choice in seen:
            self.reads[choice] += len(reads)
            self.hits[choice] += hits

    def search(
        self, examples: int, start: int, fixed: dict[str, Any] | None = None
    ) -> DifferentError | None:
        """Draw scenarios; return the smallest difference that was found."""
        last: list[DifferentError] = []

        @seed(start)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            print_blob=False,
            verbosity=Verbosity.quiet,
        )
        @given(scenarios(self.drawn["writes"], self.drawn["reads"], fixed))
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

    def coverage(self) -> str:
        lines = [f"{self.scenarios} scenarios; requests and hits of routes with:"]
        for choice in sorted({*self.reads, *self.refused}):
            counted = f"{self.reads[choice]:6} {self.hits[choice]:6}"
            refused = self.refused[choice]
            lines.append(f"{counted}  {' '.join(choice)}" + (f" (refused {refused})" if refused else ""))
        return "\n".join(lines)


def _shown(step: Any) -> str:
    made = {f.name: getattr(step, f.name) for f in fields(step)}
    given = {f.name: f.default for f in fields(step)}
    said = [f"{name}={v}" for name, v in made.items() if v != given[name] and name != "change"]
    return f"({', '.join(said)}) " if said else ""


def _writes(step: dict[str, Any]) -> list[dict[str, Any]]:
    return [step[name] for name in ("event", "race") if step[name]]


@contextmanager
def oracle() -> Iterator[Oracle]:
    with tempfile.TemporaryDirectory(prefix="oracle-") as folder:
        off = Worker(Path(folder), "off", OFF)
        on = Worker(Path(folder), "on", {"CACHE_ENABLED": "true"})
        try:
            yield Oracle(off, on)
        finally:
            off.stop()
            on.stop()


def each_choice(oracle: Oracle, examples: int, start: int, only: str) -> bool:
    """Search with each choice of each dimension alone; print what was found."""
    plain = {f.name: f.default for f in fields(Route)}
    plain |= {"middleware": [], "mounted": False, "apps": 1}
    searches: list[tuple[str, dict[str, Any]]] = []
    for name, values in choices().items():
        for value in values:
            several = isinstance(plain[name], tuple)
            searches.append((f"{name} {value}", {name: (value,) if several else value}))
    searches += [("mounted", {"mounted": True}), ("apps 2", {"apps": 2})]
    searches.append(("gzip", {"middleware": ["gzip"]}))
    groups = ("/values/", "/tables/", "/users/")
    for group in groups:
        for path in self_reads(oracle, group):
            searches.append((path, {"paths": [path]}))
    different = False
    for title, fixed in searches:
        if only not in title:
            continue
        base = dict(plain)
        if {"form", "key", "mounted", "apps"} & fixed.keys():
            del base["sees"]
        if "state" in title or "requires" in title or "scope user" in title:
            del base["middleware"]
        found = oracle.search(examples, start, base | fixed)
        different |= found is not None
        print(f"{title:40}", "equal" if found is None else found.differences[0], flush=True)
        if found and only:
            print(found.report())
    return different


def self_reads(oracle: Oracle, group: str) -> list[str]:
    return [path for path in oracle.drawn["reads"] if path.startswith(group)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="scenarios")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", nargs="?", const="", help="each choice alone, or those with this in their names")
    parser.add_argument("--replay", type=Path, help="a file with a scenario")
    parser.add_argument("--coverage", action="store_true")
    options = parser.parse_args()
    with oracle() as made:
        if options.each is not None:
            return int(each_choice(made, options.examples, options.seed, options.each))
        if options.replay:
            scenario = Scenario.from_data(json.loads(options.replay.read_text()))
            try:
                made.check(scenario)
            except DifferentError as error:
                print(error.report())
                return 1
            return 0
        found = made.search(options.examples, options.seed)
        if found:
            print(found.report())
        if options.coverage or not found:
            print(made.coverage())
        return int(found is not None)


if __name__ == "__main__":
    sys.exit(main())
