"""`api-admin serve`: check everything that can be checked first, then start uvicorn."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.console import hint, say
from app.commands.env import close_to_others, listed, open_to_others
from app.commands.refusals import Misused, Refused

if TYPE_CHECKING:
    from app.config import Settings

app = typer.Typer()


@app.command(
    epilog="""[bold]Examples[/bold]

  api-admin serve                             for development, on this machine only
  api-admin serve --reload                    start again when a file changes
  api-admin serve --host 0.0.0.0 --workers 4  for the network, four processes"""
)
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on, instead of HOST.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on, instead of PORT.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Number of processes, instead of WORKERS.")
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start again when a file in app/ changes.")
    ] = False,
) -> None:
    """Serve the API until Ctrl+C or SIGTERM.

    An SQLite file and the development server are made and migrated here; the migrations
    of any other database are up to you: [bold]api-admin db upgrade[/bold].
    """
    _override(HOST=host, PORT=port, WORKERS=workers)

    import uvicorn

    from app.cache import check_workers
    from app.commands.running import ready_database
    from app.config import get_settings
    from app.limits import warn_of_workers
    from app.logs import configure_logs

    settings = get_settings()
    configure_logs(
        settings.log_level, frozenset(settings.log_categories), settings.log_format
    )
    if reload and settings.workers > 1:
        raise Misused("--reload works with one process: leave out --workers")
    check_workers(settings.workers, settings)
    warn_of_workers(settings.workers, settings)
    check_address(settings.host, settings.port)
    with _clean_exit(), ready_database(settings):
        if settings.workers > 1:
            asyncio.run(_try_start())
        look_who_can_read(settings)
        url = address(settings.host, settings.port)
        docs = f"API docs: {url}/docs" if settings.serves_docs else f"Serving {url}"
        say(docs, style="bold")
        uvicorn.run(
            "app.connections:create_app",
            factory=True,
            http="app.connections:Connection",
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            reload=reload,
            reload_dirs=[str(Path(__file__).parents[1])] if reload else None,
            log_config=None,
            access_log=False,
            forwarded_allow_ips=list(settings.forwarded_allow_ips),
            timeout_graceful_shutdown=settings.shutdown_timeout,
            # A new worker has so long to start: a busy machine takes more than
            # uvicorn's 5 s. A signal waits for it, too.
            timeout_worker_healthcheck=20,
        )


def look_who_can_read(settings: Settings) -> None:
    """Close what Copier rendered and what was made before; in production say it only.

    There another user, such as a backup's, may read it on purpose.
    """
    from app.config.load import env_path

    found = open_to_others(env_path(), settings.database_url)
    if not found:
        return
    if settings.environment == "development":
        with suppress(OSError):  # another user's: said at the next start, too
            close_to_others(found)
            hint(f"Closed to other users of this machine: {listed(found)}")
            return
    hint(
        f"Other users of this machine can read {listed(found)}; to close them:"
        " api-admin env check --fix"
    )


def address(host: str, port: int) -> str:
    """The URL to open on this machine for a server that listens on `host`."""
    try:
        ip = ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if ip.is_unspecified:
        ip = ip_address("::1" if ip.version == 6 else "127.0.0.1")
    return f"http://[{ip}]:{port}" if ip.version == 6 else f"http://{ip}:{port}"


def check_address(host: str, port: int) -> None:
    """Refuse to go on when uvicorn could not listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family)) as probe:
        if os.name == "posix":  # elsewhere it would allow to share a taken port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Refused(_why_not(error, host, port)) from error


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken: stop what uses it, or use --port"
    if error.errno == errno.EACCES:
        return f"Port {port} needs more rights than yours: use --port 1024 or higher"
    return f"This machine cannot listen on {host}, port {port}: {error.strerror}"


async def _try_start() -> None:
    """Start the application once and stop it again; raises what makes that fail.

    uvicorn's parent process ends with 0 also when its workers could not start.
    """
    from app.main import create_app

    app = create_app()
    async with app.router.lifespan_context(app):
        pass


def _override(**settings: object) -> None:
    """Let an option win over its setting, in this process and in those it starts."""
    for name, value in settings.items():
        if value is not None:
            os.environ[name] = str(value)


@contextmanager
def _clean_exit() -> Iterator[None]:
    """Make SIGTERM end the process the way Ctrl+C does, so that cleanups run.

    uvicorn raises the signal again once it has shut down; its default action would kill
    the process there and then. Python drops what is raised while it cleans up after an
    import, so the application is told of both signals, too.
    """
    from app.connections import Connection

    def end(number: int, _: object) -> None:
        Connection.ending = True
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(0)

    numbers = signal.SIGTERM, signal.SIGINT
    before = [signal.signal(number, end) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
