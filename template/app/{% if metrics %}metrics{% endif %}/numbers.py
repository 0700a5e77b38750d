"""What is counted, and the files in which the processes of one service add it up.

A label has few values, none of which a client can make up.

Each process writes files of its own, and whoever is asked reads all of them. The folder
bears the number of the process that started them, and each holds a lock on it. Nobody
holds that of an older run, so that is emptied, whoever has its number now.

prometheus-client maps its files into memory, and makes them with holes. A process that
writes into a hole while the disk is full is killed by SIGBUS. So each file has its room
on the disk before it is mapped, and a full disk is found at the start.
"""

import multiprocessing
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

from prometheus_client import CollectorRegistry, Counter, Histogram, values

# Seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Numbers:
    """The numbers of this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "http_requests",
            "Requests that were answered, or given up by their client.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "http_request_seconds",
            "How long requests took.",
            ("route",),
            buckets=BUCKETS,
            registry=self.registry,
        )


@cache
def numbers() -> Numbers:
    """Return those of this process: its applications share them."""
    return Numbers(join())


try:
    import fcntl
except ImportError:  # Windows
    fcntl = cast("Any", None)

FOLDERS = Path("data/metrics")
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
OUTSIDE = "counter_outside.db"  # what processes count that are none of the service's
ROOM = 1 << 20  # bytes of a file: for the numbers of some hundred routes
_KINDS = ("counter", "gauge_livesum", "histogram", "summary")


def join() -> Path:
    """Return the folder of this service, and have this process write there.

    Numbers that were made before are not in it. OSError where it cannot be written.
    """
    if fcntl is None:
        raise OSError("this system has no flock")
    FOLDERS.mkdir(parents=True, exist_ok=True)
    with _alone():
        for lock in FOLDERS.glob("*.lock"):
            if not _is_held(lock):
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink()
        folder = (FOLDERS / str(_starter())).absolute()
        folder.mkdir(exist_ok=True)
        held = os.open(folder.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
        fcntl.flock(held, fcntl.LOCK_SH)  # until this process ends
        for name in (OUTSIDE, *(f"{kind}_{os.getpid()}.db" for kind in _KINDS)):
            _reserve(folder / name)
    os.environ[VARIABLE] = str(folder)
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
    return folder


@contextmanager
def running() -> Iterator[list[Path]]:
    """Yield the folders of the services that run here; none starts meanwhile.

    OSError where that cannot be told.
    """
    if fcntl is None or not FOLDERS.exists():
        yield []
        return
    with _alone():
        locks = list(FOLDERS.glob("*.lock"))
        yield [lock.with_suffix("") for lock in locks if _is_held(lock)]


def forget_dead(folder: Path) -> None:
    """Leave out what the processes that have ended held; what they counted stays."""
    for file in folder.glob("gauge_live*_*.db"):
        process = int(file.stem.rpartition("_")[2])
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)
        except PermissionError:  # it lives, as another user
            continue


def _starter() -> int:
    """Return the process that all processes of this service come from."""
    gunicorn = os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn")
    if gunicorn or multiprocessing.parent_process() is not None:
        return os.getppid()
    return os.getpid()


@contextmanager
def _alone() -> Iterator[None]:
    with (FOLDERS / "lock").open("w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        yield


def _is_held(lock: Path) -> bool:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _reserve(file: Path) -> None:
    if not file.exists():  # else an earlier process had this number
        whole = file.with_suffix(".new")  # nobody reads half of one
        try:
            whole.write_bytes(bytes(ROOM))
            whole.replace(file)
        finally:
            whole.unlink(missing_ok=True)
