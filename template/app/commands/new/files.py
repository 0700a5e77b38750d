"""The files of a new table: what `templates/` makes of it, and where it is registered.

They are Python with `$placeholders` (one that has a line of its own may become several
lines), and with lines `#if …`, `#else` and `#end` around what not every table needs.
Imports that a table does not need go away by themselves.
"""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from keyword import iskeyword
from pathlib import Path
from string import Template
from typing import Any

from fastapi.routing import iter_route_contexts
from pydantic import BaseModel

from app.commands.new.table import KINDS, Field, Table
from app.commands.refusals import Refused
from app.commands.running import settings_for_people
from app.database.base import Base
from app.main import create_app
from app.managers.scopes import ALL_SCOPES

PROJECT = Path(__file__).parents[3]
TEMPLATES = Path(__file__).with_name("templates")

FILES = {
    "model": "app/models/$name.py",
    "schema": "app/schemas/$name.py",
    "manager": "app/managers/$name.py",
    "resource": "app/resources/$name.py",
    "migration": "app/migrations/versions/${day}_${revision}_add_$names.py",
    "test": "tests/resources/test_$name.py",
}

SCOPES = "app/managers/scopes.py"
ROUTERS = "app/resources/yours.py"


def render(table: Table, **more: str) -> dict[str, str]:
    """Return the text of each file, by its path in the project."""
    values = table.values() | more
    return {
        Template(path).substitute(values): formatted(path, fill(read(name), values))
        for name, path in FILES.items()
    }


def read(name: str) -> str:
    return (TEMPLATES / f"{name}.py.tmpl").read_text("utf-8")


def fill(template: str, values: Mapping[str, Any]) -> str:
    """Replace the placeholders, after what depends on an `#if`."""

    def chosen(found: re.Match[str]) -> str:
        then, _, otherwise = found[2].partition("#else\n")
        return then if values[found[1]] else otherwise

    def lines(found: re.Match[str]) -> str:
        given = values[found[2]]
        if isinstance(given, str):
            return found[0]
        return "".join(f"{found[1]}{line}\n" for line in given)

    text = re.sub(r"^#if (\w+)\n(.*?)^#end\n", chosen, template, flags=re.M | re.S)
    text = re.sub(r"^( *)\$(\w+)\n", lines, text, flags=re.M)
    return Template(text).substitute(values)


def formatted(path: str, text: str) -> str:
    """Return the text without what it imports for nothing, as the formatter likes it.

    `path`, where it will be, says which rules hold. Raises Refused where Ruff, of the
    development group, is not installed or does not understand the text.
    """
    beside = Path(sys.executable).with_name("ruff")
    ruff = str(beside) if beside.exists() else shutil.which("ruff")
    if ruff is None:
        raise Refused("The new files need Ruff for their form: run first: uv sync")
    for command in (["check", "--fix-only", "--select", "F401,I"], ["format"]):
        done = subprocess.run(
            [ruff, *command, "--quiet", "--stdin-filename", path, "-"],
            input=text,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode:
            raise Refused(f"{path} would be no good Python: {done.stderr}")
        text = done.stdout
    return text


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


# Names that it cannot have, as something has them already

# Its names occur nowhere else, so what they are replaced by can be looked for.
STAND_IN = Table(
    "standin",
    "standins",
    tuple(Field(f"standin_{name}", kind) for name, kind in KINDS.items()),
)


def require_free(table: Table) -> None:
    """Raise Refused, with the reason, unless everything can be called so."""
    if not (PROJECT / "tests").is_dir():
        raise Refused("This is no checkout of the service: run it where its tests are")
    for kind, path in FILES.items():
        file = path.replace("$name", table.name)
        if kind != "migration" and (PROJECT / file).exists():
            raise Refused(f"{file} exists: use another name")
    if table.names in Base.metadata.tables:
        raise Refused(f"The table {table.names} exists: use another name or --plural")
    if taken := set(table.scopes) & set(ALL_SCOPES):
        raise Refused(f"The scope {min(taken)} exists: use another name or --plural")
    routes = iter_route_contexts(create_app(settings_for_people()).routes)
    if f"/{table.path}" in {"/".join((r.path or "").split("/")[:2]) for r in routes}:
        raise Refused(f"/{table.path} is served: use another name or --plural")
    for name, file in clashes(table):
        raise Refused(f"{name} is something else in {file}: use another name")
    for field in table.fields:
        for owner in (BaseModel, Base):
            if hasattr(owner, field.name) or iskeyword(field.name):
                raise Refused(f"No field can be called {field.name}: use another name")


def clashes(table: Table) -> Iterator[tuple[str, str]]:
    """Yield each name of the table that a template uses for something else, and where.

    What the stand-in is called there is what this table's own names will replace.
    """
    names = list(zip(_names(STAND_IN), _names(table), strict=True))
    for name in ("model", "schema", "manager", "resource", "test"):
        used = identifiers(fill(read(name), STAND_IN.values()))
        for replaced, own in names:
            if replaced in used and own in used:
                yield own, Template(FILES[name]).substitute(name=table.name)
        if any(field.name in used for field in STAND_IN.fields):
            for field in table.fields:
                if field.name in used:
                    yield field.name, Template(FILES[name]).substitute(name=table.name)


def identifiers(source: str) -> set[str]:
    """Return all names that the source gives or uses, but for attributes."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name):
                found.add(name)
            case ast.ClassDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.FunctionDef(name=name):
                found.add(name)
            case ast.alias(name=name, asname=alias):
                found.add(alias or name)
    return found


def _names(table: Table) -> tuple[str, ...]:
    return table.name, table.names, table.model, table.models
