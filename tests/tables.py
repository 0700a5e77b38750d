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

# Runs in the service's own environment.
PROBE = """
import json
from typer.main import get_command
from app.commands import app

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

print(json.dumps(list(leaves(get_command(app)))))
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
    routes: list[dict[str, Any]]
    env_example: str


def facts(service: Project) -> Facts:
    """Ask a service whose environment is there."""
    return Facts(
        commands=json.loads(service.run("python", "-c", PROBE)),
        routes=json.loads(service.run("api-admin", "routes", "--json")),
        env_example=service.text(".env.example"),
    )


def all_tables(facts: Facts) -> dict[str, str]:
    """Each table by the name of its marks."""
    return {
        "questions": questions(),
        "settings": settings(facts),
        "commands": commands(facts),
        "routes": routes(facts),
    }


def settings(facts: Facts) -> str:
    """One row per setting of .env.example: its comment, with its default."""
    rows = []
    part = ""
    for block in facts.env_example.split("\n\n"):
        *comment, last = block.splitlines()
        if heading := re.fullmatch(r"# -+ (.+?) -+", last):
            part = heading[1]
        elif setting := re.fullmatch(r"(\w+)=.*", last):
            *meaning, default = (line.removeprefix("# ") for line in comment)
            default = default.removeprefix("Default: ")
            default = {"No default.": "none", "empty": "empty"}.get(
                default, f"`{default}`"
            )
            rows.append((part, f"`{setting[1]}`", default, " ".join(meaning)))
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
            f"`{each['key_builder']}`" if each["key_builder"] else "",
        )
        for each in facts.routes
    ]
    return table(("route", "who", "scopes", "cached", "key builder"), rows)


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
        if name not in tables:  # another program writes it
            return mark[0]
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
