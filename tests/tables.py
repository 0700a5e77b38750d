"""The tables of README.md and docs/ that are made from the template and its service.

`uv run python tests/tables.py` writes them again; a test says when that is due.
"""

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import copier

from harness import QUESTIONS, ROOT, Project, take_snapshot

# The variant that has all settings, all dependencies and all cached routes.
LARGEST = {"database": "postgresql", "cache_backend": "redis"}

# Runs in the service's own environment; prints what cannot be read from its files.
PROBE = """
import json
from typer.main import get_command
from app.commands import app
from app.config.settings import Settings

def leaves(command, path=()):
    for name, child in getattr(command, "commands", {}).items():
        yield from leaves(child, (*path, name))
    if path and not hasattr(command, "commands"):
        yield {
            "name": " ".join(path),
            "help": (command.help or "").split("\\n\\n")[0],
            "arguments": [
                param.name.upper() if param.required else f"[{param.name.upper()}]"
                for param in command.params if param.param_type_name == "argument"
            ],
            "options": [
                max(param.opts, key=len)
                for param in command.params if param.param_type_name == "option"
            ],
        }

def parts():
    own = set(Settings.model_fields)
    for mixin in Settings.__bases__:
        own -= set(mixin.model_fields)
    for mixin in Settings.__bases__:
        names = [*mixin.model_fields, *sorted(own)]
        own = set()
        for name in names:
            yield mixin.__name__.removesuffix("Settings"), name

print(json.dumps({
    "commands": list(leaves(get_command(app))),
    "settings": [
        {
            "part": part,
            "name": name.upper(),
            "required": Settings.model_fields[name].is_required(),
            "default": Settings.model_fields[name].default,
            "description": Settings.model_fields[name].description,
        }
        for part, name in parts()
    ],
}, default=lambda value: getattr(value, "get_secret_value", lambda: None)()))
"""


def questions() -> str:
    """One row per question of copier.yml, in the order in which they are asked."""
    rows = []
    for name, question in QUESTIONS.items():
        condition = re.fullmatch(r"\{\{ (.+) \}\}", question.get("when", ""))
        asked = f" (if `{condition[1]}`)" if condition else ""
        rows.append(
            (
                f"`{name}`",
                question["help"] + asked,
                _answers(question),
                _first(question),
            )
        )
    return table(("name", "question", "answers", "default"), rows)


def _answers(question: dict[str, Any]) -> str:
    if choices := question.get("choices"):
        return "<br>".join(f"`{value}` – {label}" for label, value in choices.items())
    return "`true` or `false`" if question["type"] == "bool" else "text"


def _first(question: dict[str, Any]) -> str:
    default = str(question["default"])
    if "{" in default:
        sources = [name for name in QUESTIONS if re.search(rf"\b{name}\b", default)]
        return "made from " + ", ".join(f"`{name}`" for name in sources)
    return f"`{default.lower() if question['type'] == 'bool' else default}`"


@dataclass(frozen=True)
class Facts:
    """What a service of the LARGEST variant says about itself."""

    commands: list[dict[str, Any]]
    settings: list[dict[str, Any]]
    routes: list[dict[str, Any]]


def facts(service: Project) -> Facts:
    """Ask a service whose environment is there."""
    found = json.loads(service.run("python", "-c", PROBE))
    routes = json.loads(service.run("api-admin", "routes", "--json"))
    return Facts(**found, routes=routes)


def all_tables(facts: Facts) -> dict[str, str]:
    """Each table by the name of its marks."""
    return {
        "questions": questions(),
        "settings": settings(facts),
        "commands": commands(facts),
        "routes": routes(facts),
    }


def settings(facts: Facts) -> str:
    """One row per setting, in the order of their parts."""
    rows = [
        (each["part"], f"`{each['name']}`", _default(each), each["description"])
        for each in facts.settings
    ]
    return table(("part", "variable", "default", "meaning"), rows)


def commands(facts: Facts) -> str:
    """One row per command of `api-admin`."""
    rows = [
        (
            f"`{' '.join((each['name'], *each['arguments']))}`",
            _one_line(each["help"]),
            " ".join(f"`{option}`" for option in each["options"]),
        )
        for each in facts.commands
    ]
    return table(("command", "does", "options"), rows)


def routes(facts: Facts) -> str:
    """One row per route, as `api-admin routes` has it."""
    rows = [
        (
            f"`{each['method']} {each['path']}`",
            each["auth"],
            " ".join(f"`{scope}`" for scope in each["scopes"]),
            each["cache"],
        )
        for each in facts.routes
    ]
    return table(("route", "who", "scopes", "cached"), rows)


def _default(setting: dict[str, Any]) -> str:
    if setting["name"].startswith("API_"):
        return "from the answers"
    if setting["required"]:
        return "required"
    default = setting["default"]
    if isinstance(default, list):
        default = ",".join(default)
    return (
        f"`{str(default).lower() if isinstance(default, bool) else default}`".replace(
            "``", "empty"
        )
    )


def _one_line(text: str) -> str:
    return " ".join(re.sub(r"\[/?bold\]", "`", text).split())


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def filled(text: str, tables: dict[str, str]) -> str:
    """`text` with each table between `<!-- begin NAME -->` and `<!-- end NAME -->`."""

    def fill(mark: re.Match[str]) -> str:
        name = mark["name"]
        return f"<!-- begin {name} -->\n\n{tables[name]}\n\n<!-- end {name} -->"

    marks = r"<!-- begin (?P<name>\w+) -->.*?<!-- end (?P=name) -->"
    return re.sub(marks, fill, text, flags=re.DOTALL)


def pages() -> list[Path]:
    """The Markdown files that may hold such a table."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def write() -> None:
    """Fill the tables of all pages."""
    with tempfile.TemporaryDirectory() as folder:
        source = take_snapshot(Path(folder, "template"))
        target = Path(folder, "service")
        copier.run_copy(str(source), target, data=LARGEST, defaults=True, quiet=True)
        service = Project(target, dict(LARGEST))
        service.run("uv", "sync", "--quiet", "--no-dev")
        tables = all_tables(facts(service))
    for page in pages():
        page.write_text(filled(page.read_text(), tables))


if __name__ == "__main__":
    write()
