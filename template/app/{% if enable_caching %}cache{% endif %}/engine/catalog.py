"""What the database does by itself: its views, triggers, functions and foreign keys.

No statement tells of these, so the catalog does. Each new connection asks it, and each
transaction that may have changed the schema, before anything is cached again.
"""

import re
from weakref import WeakValueDictionary

from sqlalchemy import URL, Dialect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import PoolProxiedConnection

from app.cache.engine.rules import Tables
from app.cache.engine.sql import Statement

# A kind, and names: of what may read other tables, such as a view; of a function that
# may write, too, or a view that calls it; of a table whose changes change more; of a
# table whose rows are another one's as well; of one with a text that is perhaps not
# compared byte for byte; of the tables that a foreign key links, and what it does on
# DELETE and on UPDATE.
_CATALOG = {
    "sqlite": """
        WITH master AS (
            SELECT *, sql LIKE 'CREATE VIRTUAL %' AS virtual FROM (
                SELECT * FROM sqlite_master UNION ALL SELECT * FROM sqlite_temp_master
            )
        )
        SELECT 'reader', name, '', '', '' FROM master WHERE type = 'view' OR virtual
        UNION ALL SELECT 'trigger', tbl_name, '', '', '' FROM master
        WHERE type = 'trigger' OR sql LIKE '%CONFLICT%REPLACE%' OR virtual
        UNION ALL SELECT 'collated', name, '', '', '' FROM master
        WHERE type = 'table' AND sql LIKE '%COLLATE%'
        UNION ALL SELECT 'key', m.name, k."table", k.on_delete, k.on_update
        FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) k
        WHERE m.type = 'table'
    """,
    # A function that is not volatile writes nothing; an immutable one in C, which most
    # of an extension's are, reads nothing. `calls` are a function that may write, and
    # what depends on it down to the tables: defaults, checks, domains, policies, and
    # views, to read from which is to call it.
    # A view that is simple enough may be written to.
    "postgresql": """
        WITH RECURSIVE own AS (
            SELECT oid FROM pg_namespace
            WHERE nspname NOT IN ('pg_catalog', 'information_schema')
        ), writer AS (
            SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = prolang
            WHERE pronamespace IN (SELECT oid FROM own)
            AND provolatile = 'v' AND lanname <> 'c'
        ), view AS (
            SELECT oid, relname FROM pg_class WHERE relkind = 'v'
        ), calls (class, id) AS (
            SELECT 'pg_proc'::regclass::oid, oid FROM writer
            UNION SELECT also.* FROM calls, LATERAL (
                SELECT classid, objid FROM pg_depend
                WHERE refclassid = class AND refobjid = id
                UNION ALL SELECT refclassid, refobjid FROM pg_depend
                WHERE classid = class AND objid = id AND deptype IN ('a', 'i')
            ) also WHERE class <> 'pg_class'::regclass OR id IN (SELECT oid FROM view)
        ), heir (child, parent) AS (
            SELECT inhrelid, inhparent FROM pg_inherits
            UNION SELECT child, inhparent
            FROM heir JOIN pg_inherits ON inhrelid = parent
        )
        SELECT CASE relkind WHEN 'S' THEN 'untold' ELSE 'reader' END,
            relname, '', '', '' FROM pg_class
        WHERE relnamespace IN (SELECT oid FROM own)
        AND (relkind IN ('v', 'm', 'f', 'S') OR relrowsecurity)
        UNION ALL SELECT 'trigger', relname, '', '', '' FROM pg_class
        WHERE relnamespace IN (SELECT oid FROM own) AND oid IN (
            SELECT tgrelid FROM pg_trigger WHERE NOT tgisinternal
            UNION SELECT ev_class FROM pg_rewrite
            UNION SELECT id FROM calls WHERE class = 'pg_class'::regclass
        )
        UNION ALL SELECT 'writer', relname, '', '', '' FROM view
        WHERE oid IN (SELECT id FROM calls WHERE class = 'pg_class'::regclass)
        UNION ALL SELECT 'heir', c.relname, p.relname, '', ''
        FROM heir JOIN pg_class c ON c.oid = child JOIN pg_class p ON p.oid = parent
        UNION ALL SELECT 'collated', relname, '', '', '' FROM pg_class c
        JOIN pg_attribute ON attrelid = c.oid
        JOIN pg_collation n ON n.oid = attcollation
        WHERE relnamespace IN (SELECT oid FROM own) AND (
            NOT collisdeterministic
            OR atttypid NOT IN ('text'::regtype, 'varchar'::regtype)
        )
        UNION ALL SELECT
            CASE WHEN p.oid IN (SELECT oid FROM writer) THEN 'writer'
            ELSE 'reader' END, proname, '', '', ''
        FROM pg_proc p JOIN pg_language l ON l.oid = prolang
        WHERE pronamespace IN (SELECT oid FROM own)
        AND NOT (provolatile = 'i' AND lanname = 'c')
        UNION ALL SELECT 'key', child.relname, parent.relname,
            CASE confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL'
            WHEN 'd' THEN 'SET DEFAULT' ELSE '' END,
            CASE confupdtype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL'
            WHEN 'd' THEN 'SET DEFAULT' ELSE '' END
        FROM pg_constraint JOIN pg_class child ON child.oid = conrelid
        JOIN pg_class parent ON parent.oid = confrelid
        WHERE contype = 'f'
    """,
}

# What the databases have of functions and tables that may read others. Those that begin
# with "pg_" are for PostgreSQL's administration, the last ones are SQLite's.
_READERS = re.compile(
    r"\w+_to_xml\w*|ts_(?:stat|rewrite)"
    r"|pg_(?!catalog|typeof|sleep|(?:try_)?advisory)\w+|information_schema"
    r"|pragma_\w+|sqlite_\w+|dbstat"
)
# What reads PostgreSQL's sequences and large objects. No commit tells of their changes:
# they come by a SELECT, and a sequence's stay after a rollback.
_UNTOLD = re.compile(
    r"(?:curr|last|next|set)val|lo_(?:get|open|export)|loread"
    r"|pg_(?:sequence|largeobject)\w*"
)


class Catalog:
    """What is known of one database.

    While nothing is `known`, any statement may do anything. A function among the
    `writers` may write; a change of one of the `triggered` tables may be one of any
    table; texts in `collated` tables may be equal to others.
    """

    def __init__(self, dialect: Dialect, tables: Tables) -> None:
        self.dialect = dialect
        self._tables = tables
        self.known = dialect.name not in _CATALOG
        self._readers, self._untold = set[str](), set[str]()
        self.writers, self.triggered = set[str](), set[str]()
        self.collated = set[str]()
        self._kinds = {
            "reader": self._readers,
            "untold": self._untold,
            "writer": self.writers,
            "trigger": self.triggered,
            "collated": self.collated,
        }

    def ask(
        self,
        connection: DBAPIConnection | PoolProxiedConnection,
        *,
        for_all: bool = False,
    ) -> None:
        """Learn what there is now, by a connection that is in no transaction.

        With `for_all`, the catalogs of all engines learn it, as one of them may have
        changed the schema. Those of other databases learn too much, which does no
        harm. Where one is told nothing, nothing is known until another one asks.
        """
        kind = self.dialect.name
        if (question := _CATALOG.get(kind)) is None:
            return
        others = [c for c in _known.values() if c.dialect.name == kind]
        catalogs = [self, *others] if for_all else [self]
        try:
            cursor = connection.cursor()
            try:
                cursor.execute(question)
                found = [tuple(map(str.lower, row)) for row in cursor.fetchall()]
            finally:
                cursor.close()
                connection.rollback()
        except BaseException as error:
            for each in catalogs:
                each.known = False
            if isinstance(error, self.dialect.loaded_dbapi.Error):
                return  # it has died, or the question took too long
            raise
        self.known = True  # of another database, an answer does not tell all
        for each in catalogs:
            each._learn(found)

    def _learn(self, found: list[tuple[str, ...]]) -> None:
        named = self._tables.named().keys()
        for kind, name, parent, *actions in found:
            if kind == "heir":
                both = {name, parent}
                self._readers.update(both - named)
                self.triggered.update(both if both <= named else ())
            elif kind != "key":
                self._kinds[kind].add(name)
            elif not self._tables.say(name, parent, *actions):
                self.triggered.add(parent)

    def reads_untold(self, does: Statement) -> bool:
        """Tell whether a statement may read what changes without a commit."""
        names = does.names.keys()
        return not names.isdisjoint(self._untold) or any(map(_UNTOLD.fullmatch, names))

    def reads_more(self, does: Statement) -> bool:
        """Tell whether a statement may read tables that it does not name."""
        names = does.names.keys()
        return (
            does.everything  # or it is not understood
            or not self.known
            # One without a model may be a view that another process has made since.
            or not does.relations <= self._tables.named().keys()
            or not names.isdisjoint(self._readers)
            or not names.isdisjoint(self.writers)
            or any(map(_READERS.fullmatch, names))
        )


_known: WeakValueDictionary[tuple[URL, Tables], Catalog] = WeakValueDictionary()


def catalog_of(url: URL, dialect: Dialect, tables: Tables) -> Catalog:
    """Return the catalog of a database: what one engine learns, all of them know."""
    return _known.setdefault((url, tables), Catalog(dialect, tables))
