"""C3: what PostgreSQL alone does by itself."""

from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from app.cache import cached
from tests.engine.shop import Employee, Post, Shop, Tag, key_of, managers, tags

FUNCTION = (
    "CREATE FUNCTION {name}() RETURNS {type} LANGUAGE {language} {kind} AS $$ {body} $$"
)
NUMBER = FUNCTION.format(
    name="shop_number",
    type="integer",
    language="sql",
    kind="",
    body="UPDATE shop_tags SET name = name || '!' RETURNING 1",
)


async def make(shop: Shop, *statements: str) -> None:
    async with shop.engine.begin() as connection:
        for each in statements:
            await connection.execute(text(each))


async def assert_depends_on_tags(shop: Shop, query: str) -> None:
    @cached(namespace="shop-asked", key_builder=key_of, expire=100)
    async def asked(shop: Shop) -> list[Any]:
        return await shop.rows(text(query))

    before, runs = await asked(shop), shop.runs
    assert await asked(shop) == before
    assert shop.runs == runs
    async with shop.session.begin() as session:
        await session.execute(update(Tag).values(name="seen"))
    assert await asked(shop) != before


async def test_a_data_changing_cte_is_seen(shop: Shop) -> None:
    before = await tags(shop)
    changed = update(Tag).where(Tag.id == 1).values(name="cte").returning(Tag.id)
    async with shop.session.begin() as session:
        await session.execute(select(changed.cte("changed").c.id))
    assert await tags(shop) != before


@pytest.mark.parametrize("language", ["sql", "plpgsql"])
async def test_a_function_that_may_write_is_seen(shop: Shop, language: str) -> None:
    body = "UPDATE shop_tags SET name = 'by function';"
    body = f"BEGIN {body} END" if language == "plpgsql" else body
    sql = FUNCTION.format(
        name="shop_rename", type="void", language=language, kind="", body=body
    )
    await make(shop, sql)
    for statement in (text("SELECT public.shop_rename()"), func.shop_rename().select()):
        before = await tags(shop)
        async with shop.session.begin() as session:
            await session.execute(statement)
        assert await tags(shop) != before
        async with shop.session.begin() as session:
            await session.execute(update(Tag).values(name="other"))


async def test_a_view_that_calls_one_is_seen(shop: Shop) -> None:
    await make(
        shop,
        NUMBER,
        "CREATE VIEW shop_counted AS SELECT id, shop_number() AS n FROM shop_articles",
        "CREATE VIEW shop_numbers AS SELECT n FROM shop_counted",
    )
    before = await tags(shop)
    async with shop.session.begin() as session:
        await session.execute(text("SELECT n FROM shop_numbers"))
    assert await tags(shop) != before


async def test_a_view_of_a_table_that_calls_one_only_reads(shop: Shop) -> None:
    await make(
        shop,
        NUMBER,
        "ALTER TABLE shop_posts ADD n integer DEFAULT shop_number()",
        "CREATE VIEW shop_numbers AS SELECT n FROM shop_posts",
    )
    await tags(shop)
    runs = shop.runs
    async with shop.session.begin() as session:
        await session.execute(text("SELECT n FROM shop_numbers"))
    await tags(shop)
    assert shop.runs == runs


async def test_a_function_that_reads_depends_on_every_table(shop: Shop) -> None:
    body = "SELECT string_agg(name, ' ') FROM shop_tags"
    sql = FUNCTION.format(
        name="shop_names", type="text", language="sql", kind="STABLE", body=body
    )
    await make(shop, sql)
    await assert_depends_on_tags(shop, "SELECT shop_names()")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT ts_stat('SELECT name::tsvector FROM shop_tags')::text",
        "SELECT pg_catalog.ts_rewrite('one'::tsquery, "
        "'SELECT ''one''::tsquery, name::tsquery FROM shop_tags')::text",
    ],
)
async def test_functions_of_its_own_that_read_do(shop: Shop, query: str) -> None:
    await assert_depends_on_tags(shop, query)


async def test_a_table_without_a_model_that_inherits_depends_on_the_other(
    shop: Shop,
) -> None:
    rows = "INSERT INTO shop_more VALUES (9, 'nine')"
    await make(shop, "CREATE TABLE shop_more () INHERITS (shop_tags)", rows)
    await assert_depends_on_tags(shop, "SELECT name FROM shop_more")


@pytest.mark.parametrize(
    ("query", "change"),
    [
        ("SELECT last_value FROM shop_number", "SELECT setval('shop_number', 7)"),
        ("SELECT lo_get(7654321)::text", "SELECT lo_put(7654321, 0, 'changed')"),
    ],
    ids=["sequence", "large object"],
)
async def test_what_changes_without_a_commit_is_not_stored(
    shop: Shop, query: str, change: str
) -> None:
    @cached(namespace="shop-asked", key_builder=key_of, expire=100)
    async def asked(shop: Shop) -> list[Any]:
        return await shop.rows(text(query))

    made = "SELECT lo_from_bytea(7654321, 'first')"
    await make(shop, "CREATE SEQUENCE shop_number", made)
    for _ in range(2):
        before = await asked(shop)
    async with shop.session.begin() as session:
        await session.execute(text(change))
    assert await asked(shop) != before


async def test_a_policy_of_rows_may_read_any_table(shop: Shop) -> None:
    await make(
        shop,
        "ALTER TABLE shop_posts ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE shop_posts FORCE ROW LEVEL SECURITY",
        "CREATE POLICY named ON shop_posts USING (EXISTS "
        "(SELECT 1 FROM shop_tags WHERE name = 'one'))",
        "DROP ROLE IF EXISTS shop_reader",
        "CREATE ROLE shop_reader",
        "GRANT SELECT ON shop_posts, shop_tags TO shop_reader",
    )

    @cached(namespace="shop-asked", key_builder=key_of, expire=100)
    async def asked(shop: Shop) -> list[Any]:
        async with shop.session() as session:
            await session.execute(text("SET LOCAL ROLE shop_reader"))
            found = await session.execute(text("SELECT id FROM shop_posts"))
            return [list(row) for row in found]

    assert await asked(shop) != []
    async with shop.session.begin() as session:
        await session.execute(update(Tag).values(name="seen"))
    assert await asked(shop) == []
    await make(shop, "DROP OWNED BY shop_reader", "DROP ROLE shop_reader")


@pytest.mark.parametrize(
    "called",
    [
        ["ALTER TABLE shop_posts ADD n integer DEFAULT shop_number()"],
        ["ALTER TABLE shop_posts ADD CHECK (shop_number() > 0)"],
        [
            "CREATE DOMAIN shop_n AS integer CHECK (shop_number() > 0)",
            "ALTER TABLE shop_posts ADD n shop_n DEFAULT 1",
        ],
    ],
    ids=["default", "check", "domain"],
)
async def test_a_table_that_calls_what_may_write_may_change_every_other_one(
    shop: Shop, called: list[str]
) -> None:
    await make(shop, NUMBER, *called)
    before = await tags(shop)
    async with shop.session.begin() as session:
        session.add(Post(author_slug="ann"))
    assert await tags(shop) != before


async def test_a_write_through_a_view_is_seen(shop: Shop) -> None:
    view = "CREATE VIEW shop_posts AS SELECT id, name AS author_slug FROM shop_tags"
    await make(shop, "DROP TABLE shop_posts", view)
    before = await tags(shop)
    async with shop.session.begin() as session:
        await session.execute(update(Post).values(author_slug="by view"))
    assert await tags(shop) != before


async def test_rows_that_two_tables_have_are_changed_in_both(shop: Shop) -> None:
    """One inherits from the other, by a third one that has no model."""
    await make(
        shop,
        "DROP TABLE shop_tags CASCADE",
        "CREATE TABLE shop_between () INHERITS (shop_employees)",
        "CREATE TABLE shop_tags (kind varchar(10) DEFAULT 'manager') "
        "INHERITS (shop_between)",
    )
    before = await managers(shop)
    async with shop.session.begin() as session:
        session.add(Tag(id=7, name="seven"))
    assert await managers(shop) == [*before, [7, "seven"]]
    assert await tags(shop) == [[7, "seven"]]
    async with shop.session.begin() as session:
        await session.execute(update(Employee).values(name="renamed"))
    assert await tags(shop) == [[7, "renamed"]]
