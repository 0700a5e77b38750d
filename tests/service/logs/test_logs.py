import logging
import re
from collections.abc import Iterator

import pytest

from app import logs

LINE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \| "


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    logs.configure_logs("INFO", ("REQUESTS", "AUTH"))


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_line_has_time_category_and_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logs("INFO", ("CACHE",))
    logs.CACHE.info("CACHE HIT: GET /users/")

    (line,) = lines(capsys)

    assert re.fullmatch(LINE + r"CACHE \| CACHE HIT: GET /users/", line)


@pytest.mark.parametrize(
    ("categories", "shown"),
    [
        (("AUTH", "DATABASE"), ["AUTH", "DATABASE"]),
        (("ALL",), ["AUTH", "CACHE", "DATABASE", "REQUESTS"]),
        (("NONE",), []),
        ((), []),
    ],
)
def test_only_the_chosen_categories_speak(
    capsys: pytest.CaptureFixture[str], categories: list[str], shown: list[str]
) -> None:
    logs.configure_logs("INFO", categories)
    for logger in (logs.AUTH, logs.CACHE, logs.DATABASE, logs.REQUESTS):
        logger.info("text")

    assert [line.split(" | ")[1] for line in lines(capsys)] == shown


def test_warnings_of_all_categories_are_shown_with_their_severity(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure_logs("INFO", ("NONE",))
    logs.CACHE.warning("the server is away")
    logging.getLogger("uvicorn.error").error("no more sockets")

    first, second = lines(capsys)
    assert first.endswith("| CACHE | WARNING: the server is away")
    assert second.endswith("| SERVER | ERROR: no more sockets")


def test_the_level_holds_for_all_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logs("ERROR", ("ALL",))
    logs.CACHE.warning("the server is away")

    assert lines(capsys) == []


def test_nobody_can_write_a_line_of_his_own(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure_logs("INFO", ("REQUESTS",))
    forged = "\r\n2026-01-02 14:23:45 | AUTH | forged\x1b[2J\u2028"
    logs.REQUESTS.info("GET /%s", forged)

    (line,) = lines(capsys)

    assert line.endswith(r"| GET /\r\n2026-01-02 14:23:45 | AUTH | forged\x1b[2J\u2028")


def test_rows_that_were_read_are_never_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure_logs("DEBUG", ("ALL",))
    logging.getLogger("sqlalchemy.engine.Engine").debug("Row ('$argon2id$',)")

    assert lines(capsys) == []


def test_a_traceback_commands_no_terminal_and_forges_no_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure_logs("INFO", ())
    try:
        raise ValueError("\x1b[2J\r\u2028\n2026-01-02 14:23:45 | AUTH | forged")
    except ValueError:
        logs.SERVER.exception("failed")

    *_, text, forged = lines(capsys)
    assert text == r"  ValueError: \x1b[2J\r\u2028"
    assert forged == "  2026-01-02 14:23:45 | AUTH | forged"


def test_statements_are_a_matter_of_the_database(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure_logs("INFO", ("DATABASE",))
    logging.getLogger("sqlalchemy.engine.Engine").info("SELECT 1")

    assert lines(capsys)[0].endswith("| DATABASE | SELECT 1")
