"""What an SQL text reads and writes, told from its words alone.

It is asked for every statement that the engine executes, the ORM's as well as an
owner's own text. It may take too much for a table, and never too little: what it does
not understand is `everything`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

# REPLACE adds rows, and deletes others that are in their way.
Kind = Literal["INSERT", "UPDATE", "DELETE", "REPLACE"]

_TOKEN = re.compile(
    r"""
    (?P<skip>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<text>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\$((?:[^\W\d]\w*)?)\$.*?\$\3\$)
    |(?P<quoted>"(?:[^"]|"")*"|`[^`]*`)
    |(?P<word>[^\W\d][\w$]*)
    |(?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_READS = frozenset(["SELECT", "WITH", "VALUES", "TABLE"])
_WRITES: Mapping[str, Kind] = {kind: kind for kind in get_args(Kind)}
_QUIET = re.compile(
    r"BEGIN|START|COMMIT|END|ROLLBACK|SAVEPOINT|RELEASE|SET|RESET|"
    r"SHOW|PRAGMA|LOCK|LISTEN|UNLISTEN|NOTIFY|ANALYZE"
)
# Of SQLite's PRAGMAs with an argument, those that only ask. The others set something,
# such as `user_version`, which another statement reads.
_ASKS = re.compile(
    r"TABLE_X?INFO|TABLE_LIST|INDEX_LIST|INDEX_X?INFO|"
    r"FOREIGN_KEY_(?:LIST|CHECK)|INTEGRITY_CHECK|QUICK_CHECK"
)
# After one of these, the word of a write begins no statement of its own.
_PART_OF = frozenset(["FOR", "DO", "ON", "KEY", "OR", "AS", "."])


@dataclass(frozen=True, slots=True)
class Statement:
    """What a text does.

    `names` has every name in it, lower-case, and how often it may stand for a table.
    `writes` are the tables that it changes; `everything` says that it may change more.
    `sets` are the columns that an UPDATE sets, None where they cannot be told. `plain`
    says that an INSERT only adds the rows of its parameters, `ends` that it commits.
    """

    names: Mapping[str, int] = MappingProxyType({})
    writes: tuple[tuple[Kind, str], ...] = ()
    everything: bool = False
    sets: frozenset[str] | None = None
    plain: bool = False
    ends: bool = False


class _Token(NamedTuple):
    kind: str  # "word", "quoted" or "other"
    text: str

    @property
    def is_name(self) -> bool:
        return self.kind != "other"

    @property
    def name(self) -> str:
        return self.text.lower()


class _Unclear(Exception):
    """The text cannot be taken apart."""


@lru_cache(maxsize=2048)
def understand(text: str) -> Statement:
    """Return what a text does; the last ones are remembered."""
    try:
        return _understood(list(_tokens(text)))
    except _Unclear:
        return Statement(everything=True)


_BEFORE_NAMES = {"FROM", "JOIN", "INTO", "UPDATE"}


def _tokens(text: str) -> Iterator[_Token]:
    before = _Token("other", "")
    for found in _TOKEN.finditer(text):
        kind, it = found.lastgroup or "", found.group()
        if kind == "skip":
            if it.startswith("/*") and "/*" in it[2:]:
                raise _Unclear  # PostgreSQL's comments nest, SQLite's do not
            if it.startswith("--") and "\r" in it.rstrip("\r"):
                raise _Unclear  # it ends PostgreSQL's comments, and not SQLite's
        elif kind == "other" and it in "'\"`":
            raise _Unclear  # it does not end
        elif kind == "quoted":
            before = _Token(kind, it[1:-1])
            yield before
        elif kind != "text":
            before = _Token(kind, it.upper() if kind == "word" else it)
            yield before
        elif before.text in _BEFORE_NAMES:
            yield _Token("quoted", it.strip("'"))  # SQLite takes it for a name
    yield _Token("other", "")


def _sets_a_pragma(tokens: list[_Token]) -> bool:
    texts = [token.text for token in tokens]
    asks = "=" not in texts and ("(" not in texts or any(map(_ASKS.fullmatch, texts)))
    return texts[0] == "PRAGMA" and not asks


def _understood(tokens: list[_Token]) -> Statement:
    while tokens[0].text == "(":
        tokens = tokens[1:]
    first = tokens[0].text
    if first == "PREPARE" and tokens[1].text == "TRANSACTION":
        first = "SAVEPOINT"  # what counts is its COMMIT PREPARED
    alone = all(token.text != ";" for token in tokens[:-2])
    # What another one has prepared, perhaps another process, is not known here.
    prepared = first == "COMMIT" and tokens[1].text == "PREPARED"
    if _QUIET.fullmatch(first) and alone and not _sets_a_pragma(tokens):
        return Statement(everything=prepared, ends=first in ("COMMIT", "END"))
    writes = tuple(_writes(tokens))
    kinds = [kind for kind, _ in writes]
    known = first in _READS or (first in _WRITES and writes)
    names: dict[str, int] = {}
    for token, following in pairwise(tokens):
        if token.is_name:
            names[token.name] = names.get(token.name, 0) + (following.text != ".")
    upsert = any(t == ("word", "CONFLICT") or t == ("word", "SELECT") for t in tokens)
    plain = kinds == ["INSERT"] and first == "INSERT" and tokens[1].text == "INTO"
    return Statement(
        names,
        writes,
        everything=not (known and alone) or _makes_a_table(tokens),
        sets=_sets(tokens) if kinds == ["UPDATE"] and first == "UPDATE" else None,
        plain=plain and not upsert,
    )


def _makes_a_table(tokens: Sequence[_Token]) -> bool:
    """Tell whether an INTO is that of SELECT, or of MERGE."""
    for at, token in enumerate(tokens):
        if token == ("word", "INTO"):
            before = [each.text for each in tokens[max(0, at - 3) : at]]
            if before[-1:] not in (["INSERT"], ["REPLACE"]) and before[:2] != [
                "INSERT",
                "OR",
            ]:
                return True
    return False


def _writes(tokens: Sequence[_Token]) -> Iterator[tuple[Kind, str]]:
    for at, token in enumerate(tokens):
        kind = _WRITES.get(token.text) if token.kind == "word" else None
        before = tokens[at - 1].text if at else ""
        if kind is None or before in _PART_OF or tokens[at + 1].text in ("(", "."):
            continue
        at += 1
        if tokens[at].text == "OR":  # INSERT OR REPLACE
            kind = "REPLACE" if tokens[at + 1].text == "REPLACE" else kind
            at += 2
        while tokens[at].text in ("INTO", "FROM", "ONLY"):
            at += 1
        if not tokens[at].is_name:
            raise _Unclear
        while tokens[at + 1].text == "." and tokens[at + 2].is_name:
            at += 2
        yield kind, tokens[at].name


def _sets(tokens: list[_Token]) -> frozenset[str] | None:
    """Return the columns that follow SET, None where they are no plain list."""
    at = next((n for n, t in enumerate(tokens) if t == ("word", "SET")), None)
    if at is None:
        return None
    found: set[str] = set()
    depth, begins = 0, True
    for token, following in zip(tokens[at + 1 :], tokens[at + 2 :], strict=False):
        depth += (token.text == "(") - (token.text == ")")
        if begins:
            if not token.is_name or following.text != "=":
                return None
            found.add(token.name)
        if depth == 0 and token.kind == "word" and token.text in ("WHERE", "FROM"):
            break
        begins = depth == 0 and token == ("other", ",")
    return frozenset(found)
