"""What a command will not do is said in one line on stderr, never in a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

NO_TEXT = "The arguments have bytes that are no UTF-8 text"


class Refused(Exception):
    """A rule or a condition speaks against the command. Ends it with exit code 1."""

    exit_code = 1


class Misused(Refused):
    """The command was called wrongly. Ends it with exit code 2."""

    exit_code = 2


class RefusingGroup(TyperGroup):
    """Prints what a command refused, and exits with its code."""

    def invoke(self, ctx: Any) -> Any:  # the type that Typer declares here is private
        with refusals():
            return super().invoke(ctx)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn the exceptions that are expected into one line and an exit code."""
    try:
        yield
    except Refused as refused:
        raise _exit(str(refused), refused.exit_code) from refused
    except SystemExit as stopped:
        if isinstance(stopped.code, str):  # app.errors.StartupError
            raise _exit(stopped.code, 1) from stopped
        raise
    except Exception as error:
        if line := reason(error):
            raise _exit(line, 1) from error
        raise


def _exit(line: str, code: int) -> typer.Exit:
    label = typer.style("Error:", fg=typer.colors.RED, bold=True)
    typer.echo(f"{label} {' '.join(line.split())}", err=True)
    return typer.Exit(code)


def reason(error: Exception) -> str | None:
    """The sentence for an expected exception, None for a mistake in the code."""
    if "app.errors" not in sys.modules:
        return None  # not loaded, so not raised; loading it takes a second
    from pydantic import ValidationError
    from sqlalchemy.exc import DBAPIError

    from app.errors import AppError

    match error:
        case AppError():
            return error.detail
        case ValidationError():
            faults = [
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".removeprefix(": ")
                for fault in error.errors()
            ]
            return "; ".join(faults).replace("Value error, ", "")
        case DBAPIError() if "surrogates not allowed" in str(error.orig):
            return NO_TEXT  # asyncpg's words for a UnicodeEncodeError
        case DBAPIError():
            return f"The database refused: {error.orig}"
        case UnicodeEncodeError(encoding="utf-8"):
            return NO_TEXT
        case _:
            return None
