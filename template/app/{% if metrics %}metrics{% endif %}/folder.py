"""The files in which the processes of one service add up their numbers.

Each process writes files of its own, and whoever is asked reads all of them. The folder
bears the number of the process that started them, and each holds a lock on it. Nobody
holds that of an older run, so that is emptied, whoever has its number now.
"""

import multiprocessing
import os
import shutil
from pathlib import Path

from prometheus_client import values

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FOLDERS = Path("data/metrics")
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def join() -> Path:
    """Return the folder of this service, and have this process write there.

    Numbers that were made before are not in it. OSError where it cannot be written.
    """
    if fcntl is None:
        raise OSError("this system has no flock")
    FOLDERS.mkdir(parents=True, exist_ok=True)
    with (FOLDERS / "lock").open("w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        for lock in FOLDERS.glob("*.lock"):
            _remove_left(lock)
        folder = (FOLDERS / str(_starter())).absolute()
        folder.mkdir(exist_ok=True)
        held = os.open(folder.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
        fcntl.flock(held, fcntl.LOCK_SH)  # until this process ends
    os.environ[VARIABLE] = str(folder)
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
    return folder


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


def _remove_left(lock: Path) -> None:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
        lock.unlink()
