"""What an SQL text reads and writes, told from its words alone.

It is asked for every statement that the engine executes, the ORM's as well as an
owner's own text. It may take too much for a table, and never too little: what it does
not understand is `everything`.
"""

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

Kind = Literal["INSERT", "UPDATE", "DELETE"]

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
_WRITES = frozenset(["INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE"])
_EXPLAINS = frozenset(["EXPLAIN", "ANALYZE", "ANALYSE", "VERBOSE", "QUERY", "PLAN"])
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
# Before one of these words, UPDATE, DELETE and INSERT are no statements of their own.
_PART_OF = frozenset(["FOR", "DO", "ON", "KEY", "THEN"])
_FROM_ENDS = re.compile(
    r"WHERE|GROUP|ORDER|HAVING|LIMIT|OFFSET|UNION|INTERSECT|EXCEPT|"
    r"WINDOW|RETURNING|SET|FETCH|FOR"
)


@dataclass(frozen=True, slots=True)
class Statement:
    """What a text does.

    `names` has every name in it, lower-case, and how often it may stand for a table;
    `relations` are what FROM and JOIN name, `calls` the functions there.
    `writes` are the tables that it changes; `everything` says that it may change more.
    `sets` are the columns that an UPDATE sets, None where they cannot be told. `plain`
    says that an INSERT only adds the rows of its parameters, `ends` that it commits.
    """

    names: dict[str, int]
    relations: frozenset[str]
    calls: frozenset[str]
    writes: tuple[tuple[Kind, str], ...]
    everything: bool
    sets: frozenset[str] | None
    plain: bool
    ends: bool


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
        return Statement({}, frozenset(), frozenset(), (), True, None, False, False)


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
    quiet = _QUIET.fullmatch(first) and alone and not _sets_a_pragma(tokens)
    if quiet:
        ends = first in ("COMMIT", "END")
        nothing = frozenset[str]()
        return Statement({}, nothing, nothing, (), prepared, None, False, ends)
    everything = _explained(tokens) not in _READS | _WRITES
    writes = list(_writes(tokens))
    kinds = [kind for kind, _ in writes]
    for at, token in enumerate(tokens):
        if token.text == ";" and tokens[at + 1].text:
            everything = True
        if token == ("word", "INTO") and "".join(_before(tokens, at)) not in _INTO:
            everything = True  # SELECT … INTO makes a table
    names: dict[str, int] = {}
    for token, following in pairwise(tokens):
        if token.is_name:
            names[token.name] = names.get(token.name, 0) + (following.text != ".")
    upsert = any(t == ("word", "CONFLICT") or t == ("word", "SELECT") for t in tokens)
    relations = list(_relations(tokens))
    plain = kinds == ["INSERT"] and first == "INSERT" and not upsert
    return Statement(
        names,
        frozenset(name for name, called in relations if not called),
        frozenset(name for name, called in relations if called),
        tuple(writes),
        everything or (first in _WRITES and not writes),
        _sets(tokens) if kinds == ["UPDATE"] and first == "UPDATE" else None,
        plain and tokens[1].text == "INTO",
        ends=False,
    )


def _explained(tokens: list[_Token]) -> str:
    """Return the first word, or the one that EXPLAIN and its options stand before."""
    texts = [token.text for token in tokens]
    if texts[:2] == ["EXPLAIN", "("] and texts[2] not in _READS and ")" in texts:
        del texts[1 : texts.index(")") + 1]
    if texts[0] == "EXPLAIN":
        texts = [text for text in texts if text not in _EXPLAINS and text != "("]
    return texts[0]


_KINDS: dict[str, Set[Kind]] = {
    "INSERT": {"INSERT"},
    "UPDATE": {"UPDATE"},
    "DELETE": {"DELETE"},
    "MERGE": {"INSERT", "UPDATE", "DELETE"},
    "REPLACE": {"INSERT", "DELETE"},
}
_INTO = {"INSERT", "MERGE", "REPLACE", "OR"}


def _before(tokens: list[_Token], at: int) -> Iterator[str]:
    """Yield the word in front of INTO; OR for `INSERT OR IGNORE INTO`."""
    if at >= 2 and tokens[at - 2].text == "OR":
        yield "OR"
    elif at:
        yield tokens[at - 1].text


def _writes(tokens: list[_Token]) -> Iterator[tuple[Kind, str]]:
    for at, token in enumerate(tokens):
        if token.kind != "word" or token.text not in _WRITES:
            continue
        before = tokens[at - 1].text if at else ""
        if before in _PART_OF or before == "." or tokens[at + 1].text in ("(", "."):
            continue
        if before in ("OR", "AS"):
            continue  # INSERT OR REPLACE, and a name
        kinds = _KINDS[token.text]
        at += 1
        if tokens[at].text == "OR":
            kinds = _KINDS.get(tokens[at + 1].text, kinds)  # INSERT OR REPLACE
            at += 2
        while tokens[at].text in ("INTO", "FROM", "ONLY"):
            at += 1
        if not tokens[at].is_name:
            raise _Unclear
        name = _name_at(tokens, at)[0]
        for kind in sorted(kinds):
            yield kind, name


def _name_at(tokens: list[_Token], at: int) -> tuple[str, int]:
    """Return the last part of a name, and where it ends."""
    while tokens[at + 1].text == "." and tokens[at + 2].is_name:
        at += 2
    return tokens[at].name, at


def _relations(tokens: list[_Token]) -> Iterator[tuple[str, bool]]:
    """Yield what FROM and JOIN name, and whether it is called as a function."""
    common = {
        token.name
        for at, token in enumerate(tokens)
        if token.is_name and _is_common(tokens, at + 1)
    }
    # For each open parenthesis: whether a FROM in it names tables, and whether it did.
    reads, inside = [True], [False]
    expects = False
    at = 0
    while at < len(tokens) - 1:
        token, following = tokens[at], tokens[at + 1]
        if token.text == "(" and token.kind == "other":
            query = following.text in _READS
            expects = expects and not query  # else tables that are joined
            reads.append(expects or query)
            inside.append(expects)
        elif token.text == ")" and token.kind == "other":
            if len(reads) > 1:
                reads.pop()
                inside.pop()
            expects = False
        elif token == ("word", "FROM"):
            expects = reads[-1] and tokens[at - 1].text != "DISTINCT"
            inside[-1] = inside[-1] or expects
        elif token == ("word", "JOIN"):
            expects = True
        elif token == ("other", ","):
            expects = inside[-1]
        elif token.kind == "word" and _FROM_ENDS.fullmatch(token.text):
            inside[-1] = expects = False
        elif expects and token.kind == "word" and token.text in ("LATERAL", "ONLY"):
            pass
        elif expects and token.is_name:
            name, at = _name_at(tokens, at)
            expects = False
            if name not in common:
                yield name, tokens[at + 1].text == "("
        at += 1


def _is_common(tokens: list[_Token], at: int) -> bool:
    """Tell whether `[(columns)] AS [[NOT] MATERIALIZED] (` follows a name."""
    if tokens[at].text == "(":
        while tokens[at].text not in (")", ""):
            at += 1
        at += 1
    if at >= len(tokens) or tokens[at] != ("word", "AS"):
        return False
    at += 1
    while tokens[at].text in ("NOT", "MATERIALIZED"):
        at += 1
    return tokens[at].text == "("


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
