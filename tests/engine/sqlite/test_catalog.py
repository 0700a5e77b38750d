"""C3: what SQLite alone does by itself."""

from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from app.cache import cached, touches
from app.cache.engine import rules
from tests.engine.shop import Shop, Tag, key_of, link, posts, tag


@pytest.mark.parametrize("conflict", ["ON CONFLICT REPLACE", "ON CONFLICT\n REPLACE"])
async def test_a_table_that_replaces_rows_by_its_definition_is_seen(
    shop: Shop, conflict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "rules", dict(rules.rules))
    touches(Tag, "shop-tags:{id}", "shop-tags:list")
    unique = f"name VARCHAR(50) UNIQUE {conflict}"
    async with shop.engine.begin() as connection:
        await connection.execute(text("DROP TABLE shop_tags"))
        await connection.execute(
            text(f"CREATE TABLE shop_tags (id INTEGER PRIMARY KEY, {unique})")
        )
    async with shop.session.begin() as session:
        session.add(Tag(id=1, name="one"))
    assert await tag(shop, id=1) == [[1, "one"]]
    async with shop.session.begin() as session:
        session.add(Tag(id=2, name="one"))
    assert await tag(shop, id=1) == []


@pytest.mark.parametrize("ids", [[7, None], [None, 7], [None]])
async def test_a_row_that_is_given_a_key_for_its_null_is_seen(
    shop: Shop, ids: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "rules", dict(rules.rules))
    touches(Tag, "shop-tags:{id}", "shop-tags:list")
    for number in range(1, 10):
        await tag(shop, id=number)
    async with shop.engine.begin() as connection:
        added = [{"id": number, "name": "new"} for number in ids]
        await connection.execute(insert(Tag), added)
    found = [row for number in range(1, 10) for row in await tag(shop, id=number)]
    assert [name for _, name in found].count("new") == len(ids)


async def test_what_a_replaced_row_takes_with_it_is_seen(shop: Shop) -> None:
    @cached(namespace="shop-links", key_builder=key_of, expire=100)
    async def links(shop: Shop) -> list[Any]:
        return await shop.rows(select(link))

    before = await links(shop)
    assert await links(shop) == before != []
    async with shop.session.begin() as session:
        replaces = insert(Tag).prefix_with("OR REPLACE")
        await session.execute(replaces.values(id=1, name="replaced"))
    assert await links(shop) == []


async def test_what_a_pragma_sets_is_seen(shop: Shop) -> None:
    async def version() -> int:
        async with shop.session() as session:
            found = await session.execute(text("PRAGMA user_version"))
            return int(found.scalar_one())

    cached_version = cached(namespace="shop-version")(version)
    assert await cached_version() == 0
    async with shop.session.begin() as session:
        await session.execute(text("PRAGMA user_version = 7"))
    assert await cached_version() == 7


@pytest.mark.parametrize(
    "query",
    [
        "SELECT rowid, name FROM shop_search('one')",
        "SELECT rowid, name FROM shop_search",
        "SELECT * FROM pragma_foreign_key_check('shop_tags')",
        "SELECT * FROM pragma_quick_check('shop_tags')",
        "SELECT * FROM pragma_quick_check",
        "SELECT count(*) FROM sqlite_master",
    ],
)
async def test_a_table_of_a_module_depends_on_every_table(
    shop: Shop, query: str
) -> None:
    search = "USING fts5(name, content='shop_tags', content_rowid='id')"
    async with shop.engine.begin() as connection:
        await connection.execute(text(f"CREATE VIRTUAL TABLE shop_search {search}"))

    @cached(namespace="shop-asked", key_builder=key_of, expire=100)
    async def asked(shop: Shop) -> list[Any]:
        return await shop.rows(text(query))

    await asked(shop)
    runs = shop.runs
    async with shop.session.begin() as session:
        await session.execute(update(Tag).values(name="seen"))
    await asked(shop)
    assert shop.runs == runs + 1


async def test_so_does_one_with_a_model(shop: Shop) -> None:
    search = "fts5(id, author_slug, content='shop_source', content_rowid='id')"
    async with shop.engine.begin() as connection:
        for statement in (
            "DROP TABLE shop_posts",
            "CREATE VIEW shop_source AS SELECT id, name AS author_slug FROM shop_tags",
            f"CREATE VIRTUAL TABLE shop_posts USING {search}",
        ):
            await connection.execute(text(statement))
    before = await posts(shop)
    async with shop.session.begin() as session:
        await session.execute(update(Tag).where(Tag.id == 1).values(name="seen"))
    assert await posts(shop) != before
