"""What an SQL text reads and writes, told from its words alone.

It is asked for every statement that the engine executes, the ORM's as well as an
owner's own text. It may take too much for a table, and never too little: what it does
not understand is `everything`.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

# REPLACE adds rows, and deletes others that are in their way.
Kind = Literal["INSERT", "UPDATE", "DELETE", "REPLACE"]

_WORD = re.compile(
    r"""
    (?P<skip>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<quoted>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`
        |\$((?:[^\W\d]\w*)?)\$.*?\$\3\$)
    |(?P<word>[^\W\d][\w$]*)
    |(?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_NAME = re.compile(r'"|[^\W\d]')
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
_FROM_ENDS = re.compile(
    r"WHERE|GROUP|ORDER|HAVING|LIMIT|OFFSET|UNION|INTERSECT|EXCEPT|"
    r"WINDOW|RETURNING|SET|FETCH|FOR"
)
# After one of these, the word of a write begins no statement of its own.
_PART_OF = frozenset(["FOR", "DO", "ON", "KEY", "OR", "AS", "."])


class Statement(NamedTuple):
    """What a text does.

    `names` has every name in it, lower-case, and how often it may stand for a table;
    `relations` are what FROM and JOIN name.
    `writes` are the tables that it changes; `everything` says that it may change more.
    `sets` are the columns that an UPDATE sets, None where they cannot be told. `plain`
    says that an INSERT only adds the rows of its parameters, `ends` that it commits.
    """

    names: Mapping[str, int] = MappingProxyType({})
    relations: frozenset[str] = frozenset()
    writes: tuple[tuple[Kind, str], ...] = ()
    everything: bool = False
    sets: frozenset[str] | None = None
    plain: bool = False
    ends: bool = False


class _Unclear(Exception):
    """The text cannot be taken apart."""


@lru_cache(maxsize=2048)
def understand(text: str) -> Statement:
    """Return what a text does; the last ones are remembered."""
    try:
        return _understood(list(_words(text)))
    except (_Unclear, IndexError):  # or it ends too early
        return Statement(everything=True)


def _words(text: str) -> Iterator[str]:
    """Yield words in upper case, what is quoted after a `"`, single signs, and ""."""
    for found in _WORD.finditer(text):
        kind, it = found.lastgroup, found.group()
        if kind == "skip":
            if it.startswith("/*") and "/*" in it[2:]:
                raise _Unclear  # PostgreSQL's comments nest, SQLite's do not
            if it.startswith("--") and "\r" in it.rstrip("\r"):
                raise _Unclear  # it ends PostgreSQL's comments, and not SQLite's
        elif kind == "quoted":
            yield f'"{it[1:-1]}'  # SQLite takes a text for a name, too
        elif it in ("'", '"', "`"):
            raise _Unclear  # it does not end
        elif not it.isascii():
            yield f'"{it}'  # no keyword; in upper case, it may be another name
        else:
            yield it.upper()
    yield ""


def _name(word: str) -> str:
    """Return the name that a word may be, in lower case; "" for a sign."""
    return word.removeprefix('"').lower() if _NAME.match(word) else ""


def _understood(words: list[str]) -> Statement:
    while words[0] == "(":
        words = words[1:]
    first, second = words[0], words[1:2]
    if first == "PREPARE" and second == ["TRANSACTION"]:
        first = "SAVEPOINT"  # what counts is its COMMIT PREPARED
    alone = ";" not in words[:-2]
    if _QUIET.fullmatch(first) and alone and not _sets_a_pragma(words):
        # What another one has prepared, perhaps another process, is not known here.
        prepared = first == "COMMIT" and second == ["PREPARED"]
        return Statement(everything=prepared, ends=first in ("COMMIT", "END"))
    writes = tuple(_writes(words))
    kinds = [kind for kind, _ in writes]
    known = first in _READS or (first in _WRITES and writes)
    names: dict[str, int] = {}
    for word, following in pairwise(words):
        if name := _name(word):
            names[name] = names.get(name, 0) + (following != ".")
    plain = kinds == ["INSERT"] and first == "INSERT" and second == ["INTO"]
    return Statement(
        names,
        frozenset(_relations(words)).difference(_common(words)),
        writes,
        everything=not (known and alone) or _makes_a_table(words),
        sets=_sets(words) if kinds == ["UPDATE"] and first == "UPDATE" else None,
        plain=plain and not {"CONFLICT", "SELECT"}.intersection(words),
    )


def _sets_a_pragma(words: list[str]) -> bool:
    asks = "(" not in words or any(map(_ASKS.fullmatch, words))
    return words[0] == "PRAGMA" and ("=" in words or not asks)


def _makes_a_table(words: list[str]) -> bool:
    """Tell whether an INTO may be that of a SELECT; that of a MERGE counts, too."""
    return any(
        word == "INTO"
        and words[at - 1] not in ("INSERT", "REPLACE")
        and words[at - 3 : at - 1] != ["INSERT", "OR"]
        for at, word in enumerate(words)
    )


def _writes(words: list[str]) -> Iterator[tuple[Kind, str]]:
    for at, word in enumerate(words):
        kind = _WRITES.get(word)
        before = words[at - 1] if at else ""
        if kind is None or before in _PART_OF or words[at + 1] in ("(", "."):
            continue
        at += 1
        if words[at] == "OR":
            kind = "REPLACE" if words[at + 1] == "REPLACE" else kind
            at += 2
        while words[at] in ("INTO", "FROM", "ONLY"):
            at += 1
        while words[at + 1 : at + 2] == ["."]:
            at += 2
        if not _name(words[at]):
            raise _Unclear
        yield kind, _name(words[at])


def _relations(words: list[str]) -> Iterator[str]:
    """Yield what FROM and JOIN name, but for functions."""
    # For each open parenthesis: whether a FROM in it names tables, and whether it did.
    reads, inside = [True], [False]
    expects = False
    for at, word in enumerate(words):
        if word == "(":
            query = words[at + 1] in _READS
            expects = expects and not query  # else tables that are joined
            reads.append(expects or query)
            inside.append(expects)
        elif word == ")" and len(reads) > 1:
            reads.pop()
            inside.pop()
            expects = False
        elif word == "FROM":
            expects = reads[-1] and words[at - 1] != "DISTINCT"
            inside[-1] = inside[-1] or expects
        elif word == ",":
            expects = inside[-1]
        elif word in ("JOIN", "TABLE"):
            expects = True
        elif _FROM_ENDS.fullmatch(word):
            inside[-1] = expects = False
        elif expects and _name(word) and word not in ("LATERAL", "ONLY"):
            expects = words[at + 1] == "."  # it was a schema
            if words[at + 1] not in (".", "("):
                yield _name(word)


def _common(words: list[str]) -> Iterator[str]:
    """Yield the names of common table expressions, `name [(columns)] AS … (`."""
    for at, word in enumerate(words):
        if word == "AS" and words[at + 1] in ("(", "MATERIALIZED", "NOT"):
            if words[at - 1] == ")":
                at = max(n for n in range(at) if words[n] == "(")
            yield _name(words[at - 1])


def _sets(words: list[str]) -> frozenset[str] | None:
    """Return the columns that follow SET, None where they are no plain list."""
    if "SET" not in words:
        return None
    found: set[str] = set()
    depth, begins = 0, True
    for word, following in pairwise(words[words.index("SET") + 1 :]):
        depth += (word == "(") - (word == ")")
        if begins:
            if not _name(word) or following != "=":
                return None
            found.add(_name(word))
        if depth == 0 and word in ("WHERE", "FROM"):
            break
        begins = depth == 0 and word == ","
    return frozenset(found)
