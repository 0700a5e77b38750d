"""The project's files: those in which a table is registered, and writing them all."""

import ast
from collections.abc import Mapping
from difflib import unified_diff
from pathlib import Path

from app.commands.new.table import Table
from app.commands.new.templates import PROJECT, formatted
from app.commands.refusals import Refused

SCOPES = "app/managers/scopes.py"
ROUTERS = "app/resources/yours.py"


def registered(table: Table) -> dict[str, str]:
    """Return the text of each file in which a new table is registered, by its path."""
    scopes = (PROJECT / SCOPES).read_text("utf-8")
    scopes = add_to("Scope", scopes, table.scopes)
    if table.admin:
        scopes = add_to("ADMIN_SCOPES", scopes, table.scopes[1:])
    routers = (PROJECT / ROUTERS).read_text("utf-8")
    routers = (
        f"{_with_import(routers, f'from app.resources import {table.name}')}"
        f"router.include_router({table.name}.router)\n"
    )
    return {SCOPES: formatted(SCOPES, scopes), ROUTERS: formatted(ROUTERS, routers)}


def add_to(name: str, source: str, scopes: tuple[str, ...]) -> str:
    """Add scopes at the end of the literals that are assigned to a name."""
    for node in ast.parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value):
                pass
            case _:
                continue
        if found == name:
            last = [each for each in ast.walk(value) if isinstance(each, ast.Constant)]
            end = max((each.end_lineno or 0, each.end_col_offset or 0) for each in last)
            lines = source.splitlines(keepends=True)
            line = lines[end[0] - 1].encode()
            text = "".join(f', "{scope}"' for scope in scopes).encode()
            lines[end[0] - 1] = (line[: end[1]] + text + line[end[1] :]).decode()
            return "".join(lines)
    raise Refused(f"{SCOPES} has no {name}, where the new scopes belong")


def _with_import(source: str, line: str) -> str:
    """Add an import after the others; the formatter puts it where it belongs."""
    imports = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    lines = source.splitlines(keepends=True)
    lines.insert(imports[-1].end_lineno or 0, f"{line}\n")
    return "".join(lines)


def difference(files: Mapping[str, str]) -> str:
    """Return what writing the files would change, as a patch."""
    patch: list[str] = []
    for path, text in files.items():
        there = PROJECT / path
        before = there.read_text("utf-8") if there.exists() else None
        patch += unified_diff(
            (before or "").splitlines(keepends=True),
            text.splitlines(keepends=True),
            f"a/{path}" if before is not None else "/dev/null",
            f"b/{path}",
        )
    return "".join(patch)


def write(files: Mapping[str, str]) -> None:
    """Write all of the files, or none: an error takes back what is written already."""
    before: dict[Path, bytes | None] = {}
    try:
        for path, text in files.items():
            there = PROJECT / path
            before[there] = there.read_bytes() if there.exists() else None
            there.write_text(text, "utf-8")
    except BaseException as error:
        for there, content in before.items():
            if content is None:
                there.unlink(missing_ok=True)
            else:
                there.write_bytes(content)
        if isinstance(error, OSError):
            raise Refused(f"Nothing is written: {error}") from error
        raise
