"""C3: what SQLite alone does by itself."""

import pytest
from sqlalchemy import text

from app.cache import cached, touches
from app.cache.engine import rules
from tests.engine.shop import Shop, Tag, tag


async def test_a_table_that_replaces_rows_by_its_definition_is_seen(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "rules", dict(rules.rules))
    touches(Tag, "shop-tags:{id}", "shop-tags:list")
    unique = "name VARCHAR(50) UNIQUE ON CONFLICT REPLACE"
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
