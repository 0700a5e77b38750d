"""The files that `templates/` makes of a table.

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
from pathlib import Path
from string import Template
from typing import Any

from app.commands.new.fields import KINDS, Field
from app.commands.new.table import Table
from app.commands.refusals import Refused

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

# Its names occur nowhere else, so what they are replaced by can be looked for.
STAND_IN = Table(
    "standin",
    "standins",
    tuple(Field(f"standin_{name}", kind) for name, kind in KINDS.items()),
)


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
