"""The parts of one run: its folder, its environments, its servers and its patience."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import environments, load, processes
from benchmarks.contenders import NONE, Contender
from benchmarks.load import Load
from benchmarks.processes import Server
from benchmarks.report import Goal, Sample, Table


@dataclass(frozen=True, slots=True)
class Running:
    """A contender that serves, and its Redis."""

    server: Server
    redis: Server | None

    def send(self, path: str, connections: int, seconds: float, **more: object) -> Load:
        return load.send(
            self.server,
            path,
            connections=connections,
            seconds=seconds,
            redis=self.redis,
            **more,  # type: ignore[arg-type]  # headers and in_turn, as they are there
        )


@dataclass(slots=True)
class Bench:
    """One run of the benchmark."""

    folder: Path
    quick: bool
    say: Callable[[str], None]
    tables: list[Table] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    plots: dict[str, str] = field(default_factory=dict)
    _projects: dict[str, Path] = field(default_factory=dict)
    _served: int = 0

    @property
    def rounds(self) -> int:
        return 3 if self.quick else 5

    @property
    def seconds(self) -> float:
        return 0.3 if self.quick else 0.5

    def project(self, cache: str) -> Path:
        """Return a rendered project with its environment; made once in a run."""
        if cache not in self._projects:
            self.say(f"rendering and installing the service, cache: {cache}")
            folder = self.folder / f"service-{cache}"
            environments.install(environments.render(cache, folder))
            self._projects[cache] = folder
        return self._projects[cache]

    def environment(self, contender: Contender) -> Path:
        if contender.requires:
            return environments.environment_of(contender)
        return self.project(contender.backend) / ".venv"

    @property
    def runs(self) -> Path:
        """The file in which the slow route's handler counts its runs."""
        return self.folder / "runs"

    def database(self) -> str:
        """Return the file of the contenders' database."""
        file = self.folder / "work.db"
        if not file.exists():
            python = environments.python(self.environment(NONE))
            environments.run(
                python, "-m", "benchmarks.apps.work", settings=self._work(file)
            )
        return str(file)

    def _work(self, file: Path) -> dict[str, str]:
        return {
            "BENCH_DATABASE": str(file),
            "BENCH_RUNS": str(self.runs),
            "PYTHONPATH": str(environments.ROOT),
        }

    @contextmanager
    def serving(
        self,
        contender: Contender,
        workers: int = 1,
        settings: Mapping[str, str] | None = None,
    ) -> Iterator[Running]:
        """Run a contender, with a Redis of its own if it needs one."""
        environment = self._work(Path(self.database())) | {
            "BENCH_BACKEND": contender.backend or "memory",
            "BENCH_CODER": contender.coder,
            "BENCH_WORKERS": str(workers),
        }
        environment |= settings or {}
        project = None if contender.requires else self.project(contender.backend)
        factory = f"benchmarks.apps.{contender.app}:create_app"
        with ExitStack() as stack:
            redis = None
            if contender.backend == "redis":
                redis = stack.enter_context(processes.redis(self._own_folder()))
                url = f"redis://127.0.0.1:{redis.port}/0"
                environment |= {"BENCH_REDIS_URL": url, "REDIS_URL": url}
            python = environments.python(self.environment(contender))
            server = stack.enter_context(
                self.uvicorn(python, factory, project, workers, environment)
            )
            yield Running(server, redis)

    @contextmanager
    def uvicorn(
        self,
        python: str,
        factory: str,
        cwd: Path | None,
        workers: int,
        environment: dict[str, str],
    ) -> Iterator[Server]:
        """Run an application as it would be run in production."""
        port = processes.free_port()
        command = [python, "-m", "uvicorn", "--factory", factory, "--port", str(port)]
        command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log"]
        command += ["--log-level", "warning", "--workers", str(workers)]
        folder = self._own_folder()
        cpus = range(64) if workers > 1 else (processes.SERVER_CPU,)
        with processes.running(
            command,
            port=port,
            log=folder / "log",
            cwd=cwd or folder,
            cpus=list(cpus),
            **environment,
        ) as server:
            yield server

    def in_turn(
        self, names: Sequence[str], measure: Callable[[str], Load]
    ) -> dict[str, list[Load]]:
        """Measure each of the names once in each round."""
        found: dict[str, list[Load]] = {name: [] for name in names}
        for _ in range(self.rounds):
            for name in names:
                found[name].append(measure(name))
        return found

    def _own_folder(self) -> Path:
        self._served += 1
        folder = self.folder / f"process-{self._served}"
        folder.mkdir()
        return folder


def cpu(loads: Sequence[Load]) -> Sample:
    return Sample(tuple(each.cpu for each in loads))


def rate(loads: Sequence[Load]) -> Sample:
    return Sample(tuple(each.rate for each in loads))


def latency(loads: Sequence[Load]) -> Sample:
    return Sample(tuple(each.latency for each in loads))
