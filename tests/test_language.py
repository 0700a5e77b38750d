"""The English of the pages: spelling, grammar, and words that we do not use."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from harper import Linter

from harness import ROOT

pytestmark = pytest.mark.fast

PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md"),
    ROOT / "template" / "README.md.jinja",
]
IDS = [str(page.relative_to(ROOT)) for page in PAGES]

# FastAPI's own name, a header, a function of SQLite; mistakes on purpose; people.
SPELLED_SO = ["dependant", "te", "iif", "pasword", "reqests", "chache"]
SPELLED_SO += ["ines", "wirth"]

# What Harper asks for that is not our style, or takes for a mistake in our subject.
NOT_ASKED = [
    *("SpellCheck", "OxfordComma", "UseTitleCase", "SentenceCapitalization"),
    *("SplitWords", "MergeWords", "CompoundNouns", "MassNouns", "DisjointPrefixes"),
    *("ExpandTimeShorthands", "ExpandMemoryShorthands", "ExpandControl"),
    *("OrthographicConsistency", "DiscourseMarkers", "OneOfTheSingular", "OutOfDate"),
    *("ThatThan", "NotTo", "WereWhere", "CondenseAllThe", "MissingPreposition"),
    *("PhrasalVerbAsCompoundNoun", "AnA", "LongSentences"),
]

AVOIDED = {
    r"\b(he|him|his|himself)\b": "they",
    r"\bbelongs? into\b": "belongs in",
    r"\bfor who\b": "for people who",
    r"\bthose of which\b": "say which",
    r"\binside of\b": "inside",
    r"\b(simply|obviously|of course)\b": "leave it out",
}


def prose(page: Path) -> str:
    """A page without its code, its generated tables and its Jinja."""
    text = page.read_text("utf-8")
    for made in (
        r"^ *```.*?^ *```$",
        r"<!-- (?:begin|measured).*?<!-- end.*?-->",
        r"\{[%{].*?[%}]\}",
    ):
        text = re.sub(made, "", text, flags=re.DOTALL | re.MULTILINE)
    return text


def test_nothing_is_misspelled() -> None:
    """Also not in the template's code, where the messages are."""
    places = ["docs", "template", "includes", "copier.yml", "CHANGELOG.md"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "codespell_lib"),
            *("--skip", "*/common_passwords.txt"),
            *("--ignore-words-list", ",".join(SPELLED_SO), *places),
            *("README.md", "CONTRIBUTING.md"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def linter() -> Linter:
    linter = Linter()
    rules: dict[str, bool | None] = {**linter.get_default_lint_config()}
    linter.set_lint_config(rules | dict.fromkeys(NOT_ASKED, False))
    return linter


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_grammar_of_a_page(page: Path, linter: Linter) -> None:
    text = prose(page)
    found = [
        f"{text[max(0, lint.span.start - 30) : lint.span.end + 20]!r}: {lint.message}"
        for lint in linter.lint(text)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_words_that_we_do_not_use(page: Path) -> None:
    for pattern, better in AVOIDED.items():
        found = re.search(pattern, prose(page), flags=re.IGNORECASE)
        assert found is None, f"{found[0]!r}: {better}"
