"""How api-admin serve ends, as processes of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from threading import Event

import pytest

from app.config import Settings
from tests.servers import free_port

# A memory cache is for one process.
ALL_OFF = {
    name.upper(): "false" for name in Settings.model_fields if name.endswith("_enabled")
}

pytestmark = pytest.mark.usefixtures("settings")


@contextmanager
def serving(port: int, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Serve the API on `port`; yields the process when it is ready, with its log."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.service.commands.endless", "serve"],
        env=os.environ | {"PORT": str(port), "LOG_CATEGORIES": "NONE"} | environment,
        cwd=Path(__file__).parents[3],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_for(process, "Uvicorn running")
            if "WORKERS" in environment:
                for _ in range(int(environment["WORKERS"])):
                    wait_for(process, "Application startup complete")
            yield process
        finally:
            process.terminate()  # and its workers, which a kill would leave behind
            process.wait(60)


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return
    pytest.fail(f"No {text!r} in:\n{''.join(lines)}")


def restart(process: subprocess.Popen[str], *, workers: int) -> None:
    """Wait until so many workers have been replaced."""
    assert process.stderr is not None
    process.send_signal(signal.SIGHUP)
    ended = 0
    for line in process.stderr:
        if "aborting the restart" in line:  # 20 s were too few for a new worker
            process.send_signal(signal.SIGHUP)
        ended += "Finished server process" in line
        if ended >= workers:
            return
    pytest.fail("The service has ended")


@pytest.mark.parametrize("path", ["thread", "stream"])
def test_a_request_that_does_not_end_is_cut_off_in_one_line(path: str) -> None:
    port = free_port()
    with (
        serving(port, SHUTDOWN_TIMEOUT="1") as process,
        socket.create_connection(("127.0.0.1", port)) as client,
    ):
        start = f"GET /endless/{path} HTTP/1.1\r\nHost: service\r\n\r\n"
        client.sendall(start.encode())
        wait_for(process, "begun")
        process.terminate()

        _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in log
    assert "timeout graceful shutdown exceeded" in log


def test_a_rolling_restart_loses_no_request_of_clients_that_keep_connections() -> None:
    port = free_port()
    over = Event()

    def ask() -> int:
        """Send requests that must not be repeated; returns how many were answered."""
        answered = 0
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            while not over.is_set():
                connection.request("POST", "/livez", body=b"{}")
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 405
                answered += 1
                time.sleep(0.01)  # leaves processor time to those that restart
        return answered

    with (
        serving(port, WORKERS="2", **ALL_OFF) as process,
        ThreadPoolExecutor(8) as clients,
    ):
        asking = [clients.submit(ask) for _ in range(8)]
        try:
            restart(process, workers=2)
        finally:
            over.set()
        lost = [error for each in asking if (error := each.exception())]

        assert lost == []
        assert all(each.result() for each in asking)


LOST = """
import signal, sys, weakref
import uvicorn
from app.commands import main

class Anything: ...

def run(*arguments, **options):
    thing = Anything()
    about = weakref.ref(thing, lambda _: signal.raise_signal(int(number)))
    del thing  # as at the end of an import: what is raised now is lost
    serve(*arguments, **options)

serve, uvicorn.run = uvicorn.run, run
_, number, port = sys.argv
sys.argv = ["api-admin", "serve", "--port", port]
main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_server_is_there_ends_it(number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOST, str(int(number)), str(free_port())],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Exception ignored in" in done.stderr
    assert done.returncode == 0, done.stderr
