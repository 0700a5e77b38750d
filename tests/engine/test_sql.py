"""What an SQL text reads and writes, against SQLite, which knows it for certain."""

import sqlite3
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cache.engine.sql import understand

TABLES = ["users", "api keys", "Orders", "tags"]


@pytest.mark.parametrize(
    ("text", "writes"),
    [
        ("UPDATE users SET a = 1 WHERE id = 5", [("UPDATE", "users")]),
        ("update only public.users u set a = 1", [("UPDATE", "users")]),
        ('INSERT INTO "Users" (a) VALUES (1)', [("INSERT", "users")]),
        ("INSERT OR IGNORE INTO t VALUES (1)", [("INSERT", "t")]),
        ("REPLACE INTO t VALUES (1)", [("REPLACE", "t")]),
        ("INSERT OR REPLACE INTO t VALUES (1)", [("REPLACE", "t")]),
        ("UPDATE OR REPLACE t SET a = 1", [("REPLACE", "t")]),
        (
            "INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2",
            [("INSERT", "t")],
        ),
        ("DELETE FROM a.b.c USING d", [("DELETE", "c")]),
        (
            "WITH x AS (DELETE FROM t RETURNING id) INSERT INTO u SELECT id FROM x",
            [("DELETE", "t"), ("INSERT", "u")],
        ),
        ("DELETE FROM 'T' WHERE a = ';'", [("DELETE", "t")]),
        (
            "WITH a AS (SELECT $q1$--$q1$), d AS (DELETE FROM t) SELECT 1",
            [("DELETE", "t")],
        ),
        ("SELECT a -- its\r\n FROM t WHERE b = $1", []),
        ("SELECT 'DELETE FROM t' -- UPDATE t SET a = 1\n/* DELETE FROM t */", []),
        ("SELECT $x$ DELETE FROM t $x$, E'\\' DELETE FROM t --'", []),
        ("SELECT a FROM t FOR NO KEY UPDATE", []),
        ("SELECT t.update, replace(a, 'b', 'c') AS insert FROM t", []),
        ("BEGIN IMMEDIATE", []),
        ("PREPARE TRANSACTION 'which ends with COMMIT PREPARED'", []),
        ("PRAGMA user_version", []),
        ('PRAGMA main.table_info("t")', []),
        ("PRAGMA foreign_key_check(t)", []),
    ],
)
def test_a_text_tells_what_it_writes(text: str, writes: list[tuple[str, str]]) -> None:
    does = understand(text)
    assert list(does.writes) == writes
    assert not does.everything


@pytest.mark.parametrize(
    "text",
    [
        "TRUNCATE t",
        "DROP TABLE t",
        "DO $$ BEGIN DELETE FROM t; END $$",
        "CALL work()",
        "PRAGMA user_version = 7",
        "PRAGMA main.user_version(7)",
        "COPY t FROM STDIN",
        "SELECT 1; DELETE FROM t",
        "COMMIT PREPARED 'of another connection'",
        "PREPARE later AS DELETE FROM t",
        "SELECT a INTO t FROM u",
        'SELECT "INSERT" INTO t FROM u',
        "SELECT a OR b INTO t FROM u",
        "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE",
        "WITH x AS (SELECT 1) MERGE INTO t USING x ON true WHEN MATCHED THEN DELETE",
        "SET x = 1; DELETE FROM t",
        "EXPLAIN ANALYZE DELETE FROM t",
        "EXPLAIN ANALYZE EXECUTE p",
        "INSERT OR",
        "WITH d AS ( -- it ends\rDELETE FROM t RETURNING a) SELECT a FROM d",
        "SELECT 'open",
        "/* one /* two */ */ SELECT 1",
        "",
    ],
)
def test_what_is_not_understood_may_change_everything(text: str) -> None:
    assert understand(text).everything


@pytest.mark.parametrize(
    ("text", "relations"),
    [
        ("SELECT a FROM t, v JOIN w ON t.a = w.a, LATERAL f(1) AS x", "t v w"),
        ("WITH c AS (SELECT 1 FROM t), d(a, b) AS (TABLE u) SELECT * FROM c, d", "t u"),
        ("SELECT * FROM (SELECT 1, a FROM t) AS s, (t JOIN u ON true)", "t u"),
        ("SELECT extract(year FROM d), count(*), my_sum(a, b) FROM t", "t"),
        (
            "SELECT 1 FROM t WHERE a IS DISTINCT FROM b AND EXISTS (SELECT 1 FROM u)",
            "t u",
        ),
        ("SELECT CAST(a AS VARCHAR(5)), b FROM t WHERE c IN (1, 2) ORDER BY a, b", "t"),
        ("INSERT INTO public.t (a) SELECT to_char(a, 'x') FROM 'u', ONLY s.w", "u w"),
    ],
)
def test_a_text_tells_what_it_reads_from(text: str, relations: str) -> None:
    assert understand(text).relations == set(relations.split())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("SELECT a FROM t, v JOIN public.w ON t.a = w.a", "t v w"),
        ("SELECT f(1), (SELECT 1 FROM lateral_view(t)) AS s", "f lateral_view t"),
        ("SELECT a FROM \"T\", 'V' JOIN straße", "t v straße"),
    ],
)
def test_a_text_names_what_it_reads(text: str, names: str) -> None:
    assert understand(text).names.keys() >= set(names.split())


@pytest.mark.parametrize(
    ("text", "ends"),
    [("COMMIT", True), ("COMMIT PREPARED 'a'", True), ("ROLLBACK PREPARED 'a'", False)],
)
def test_what_commits_is_told_apart(text: str, *, ends: bool) -> None:
    assert understand(text).ends is ends


def test_an_update_tells_its_columns() -> None:
    text = "UPDATE t SET a = f(b, c, '('), \"D\" = 'x' WHERE e = 1"
    assert understand(text).sets == frozenset("ad")
    assert understand("UPDATE t SET (a, b) = (1, 2)").sets is None
    assert understand("WITH x AS (SELECT 1) UPDATE t SET a = 1").sets is None


NAMES = st.sampled_from([f'"{name}"' for name in TABLES] + ["users", "TAGS", "orders"])
CONDITIONS = st.sampled_from(
    ["", " WHERE id = 1", " WHERE name = 'DELETE FROM tags'", " /* tags */ WHERE 1"]
)


# ruff: noqa: S608 - these texts are for an empty database in memory


@st.composite
def statements(draw: st.DrawFn, depth: int = 0) -> str:
    name, where = draw(NAMES), draw(CONDITIONS)
    kinds = ["select", "update", "delete", "insert", "upsert", "replace", "join"]
    match draw(
        st.sampled_from([*kinds, "cte", "exists", "into"][: 7 + 3 * (not depth)])
    ):
        case "select":
            return f"SELECT id, name AS tags FROM {name}{where}"
        case "join":
            return f"SELECT a.id FROM {name} AS a, {draw(NAMES)} b JOIN {draw(NAMES)} c"
        case "update":
            return f"UPDATE {name} SET name = name || 'SET tags', id = id{where}"
        case "delete":
            return f"DELETE FROM {name}{where}"
        case "insert":
            return f"INSERT INTO {name} (name) VALUES ('INSERT INTO tags'), ('x''y')"
        case "upsert":
            return (
                f"INSERT INTO {name} (id) VALUES (1) "
                "ON CONFLICT (id) DO UPDATE SET name = 'x'"
            )
        case "replace":
            return f"INSERT OR REPLACE INTO {name} (id, name) VALUES (1, 'x')"
        case "into":
            return f"INSERT INTO {name} (name) SELECT name FROM {draw(NAMES)}"
        case "exists":
            return (
                f"DELETE FROM {name} WHERE EXISTS (SELECT 1 FROM {draw(NAMES)} x) "
                f"OR id IN (SELECT max(id) FROM {draw(NAMES)})"
            )
        case _:
            inner = f"SELECT id FROM {draw(NAMES)}"
            return f"WITH c AS ({inner}) UPDATE {name} SET id = id WHERE id IN c"


@given(statements())
@settings(max_examples=300)
def test_it_takes_no_less_for_a_table_than_sqlite_does(text: str) -> None:
    connection = sqlite3.connect(":memory:")
    for name in TABLES:
        connection.execute(f'CREATE TABLE "{name}" (id INTEGER PRIMARY KEY, name)')
    reads: set[str] = set()
    writes: set[str] = set()

    def see(action: int, table: str | None, *_: Any) -> int:
        if table and not table.startswith("sqlite_"):
            if action == sqlite3.SQLITE_READ:
                reads.add(table.lower())
            elif action in _WRITES:
                writes.add(table.lower())
        return sqlite3.SQLITE_OK

    connection.set_authorizer(see)
    connection.execute(text)
    connection.close()
    does = understand(text)
    known = {name.lower() for name in TABLES}
    assert not does.everything
    assert {table for _, table in does.writes} == writes
    assert reads & known <= does.names.keys()
    assert does.relations <= known


_WRITES = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
