"""The tables of README.md and docs/ that are made from the template.

`uv run python tests/tables.py` writes them again; a test says when that is due.
"""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent

Row = tuple[str, ...]


def questions() -> str:
    """One row per question of copier.yml, in the order in which they are asked."""
    keys = yaml.safe_load((ROOT / "copier.yml").read_text())
    asked = {name: value for name, value in keys.items() if not name.startswith("_")}
    rows = []
    for name, question in asked.items():
        condition = re.fullmatch(r"\{\{ (.+) \}\}", question.get("when", ""))
        rows.append(
            (
                f"`{name}`",
                question["help"] + (f" (if `{condition[1]}`)" if condition else ""),
                _answers(question),
                _default(question, asked),
            )
        )
    return table(("name", "question", "answers", "default"), rows)


def _answers(question: dict[str, Any]) -> str:
    if choices := question.get("choices"):
        return "<br>".join(f"`{value}` – {label}" for label, value in choices.items())
    return "`true` or `false`" if question["type"] == "bool" else "text"


def _default(question: dict[str, Any], asked: dict[str, Any]) -> str:
    default = str(question["default"])
    if "{" in default:
        sources = [name for name in asked if re.search(rf"\b{name}\b", default)]
        return "made from " + ", ".join(f"`{name}`" for name in sources)
    return f"`{default.lower() if question['type'] == 'bool' else default}`"


def table(headings: Row, rows: list[Row]) -> str:
    """A Markdown table."""
    lines = [headings, ("---",) * len(headings), *rows]
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


if __name__ == "__main__":
    for page in pages():
        page.write_text(filled(page.read_text(), {"questions": questions()}))
