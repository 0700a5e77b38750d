"""C3: what the database does by itself is asked of its catalog, and asked again."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import MetaData, delete, insert, select, text, update
from sqlalchemy.ext.asyncio import create_async_engine

from app.cache import cached, touches, watch_commits
from app.cache.engine import rules
from app.cache.engine.catalog import _CATALOG
from app.config import Settings
from tests.engine.each import on_one_storage
from tests.engine.shop import (
    Article,
    Author,
    Base,
    Shop,
    Tag,
    key_of,
    link,
    posts,
    tags,
)

pytestmark = on_one_storage


TRIGGER = {
    "sqlite": [
        "CREATE TRIGGER shop_trigger AFTER UPDATE ON shop_authors BEGIN "
        "UPDATE shop_tags SET name = 'by trigger'; END"
    ],
    "postgresql": [
        "CREATE FUNCTION shop_trigger() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN UPDATE shop_tags SET name = 'by trigger'; RETURN NEW; END $$",
        "CREATE TRIGGER shop_trigger AFTER UPDATE ON shop_authors "
        "FOR EACH ROW EXECUTE FUNCTION shop_trigger()",
    ],
}


@cached(namespace="shop-names", key_builder=key_of, expire=100)
async def names(shop: Shop) -> list[Any]:
    return await shop.rows(text("SELECT name FROM shop_names ORDER BY name"))


@cached(namespace="shop-links", key_builder=key_of, expire=100)
async def links(shop: Shop) -> list[Any]:
    return await shop.rows(select(link))


async def execute(shop: Shop, *statements: str) -> None:
    async with shop.engine.begin() as connection:
        for each in statements:
            await connection.execute(text(each))


async def assert_names_are_fresh(shop: Shop) -> None:
    before, runs = await names(shop), shop.runs
    assert await names(shop) == before
    assert shop.runs == runs
    async with shop.session.begin() as session:
        await session.execute(update(Tag).where(Tag.id == 1).values(name="seen"))
    assert await names(shop) != before


async def test_a_view_depends_on_every_table(shop: Shop) -> None:
    await execute(shop, "CREATE VIEW shop_names AS SELECT name FROM shop_tags")
    await assert_names_are_fresh(shop)


async def test_so_does_a_view_that_nobody_has_told_of(
    shop: Shop, settings: Settings
) -> None:
    """As by a migration in another process: no connection of ours asks again."""
    await execute(shop, "SELECT 1")
    other = create_async_engine(settings.database_url)
    await execute(Shop(other), "CREATE VIEW shop_names AS SELECT name FROM shop_tags")
    await other.dispose()
    await assert_names_are_fresh(shop)


async def test_so_does_a_text_that_is_not_understood(shop: Shop) -> None:
    """It may have changed something, too, but there is no COMMIT here to tell."""
    unclear = {
        "sqlite": "/* /* */ SELECT name FROM shop_tags",
        "postgresql": "/* /* */ */ SELECT name FROM shop_tags",
    }

    @cached(namespace="shop-names", key_builder=key_of, expire=100)
    async def commented(shop: Shop) -> list[Any]:
        return await shop.rows(text(unclear[shop.engine.dialect.name]))

    before = await commented(shop)
    async with shop.session.begin() as session:
        await session.execute(update(Tag).where(Tag.id == 1).values(name="seen"))
    assert await commented(shop) != before


async def test_so_does_a_view_in_the_place_of_a_table(shop: Shop) -> None:
    await execute(
        shop,
        "DROP TABLE shop_posts",
        "CREATE VIEW shop_posts AS SELECT id, name AS author_slug FROM shop_tags",
    )
    before = await posts(shop)
    async with shop.session.begin() as session:
        await session.execute(update(Tag).where(Tag.id == 1).values(name="seen"))
    assert await posts(shop) != before


async def test_a_table_with_a_trigger_may_change_every_other_one(shop: Shop) -> None:
    await execute(shop, *TRIGGER[shop.engine.dialect.name])
    before = await tags(shop)
    async with shop.session.begin() as session:
        await session.execute(update(Author).values(slug="anne"))
    assert await tags(shop) != before


async def test_what_one_engine_learns_the_others_know(
    shop: Shop, settings: Settings
) -> None:
    """As the two that `Database` has for SQLite."""
    other = create_async_engine(settings.database_url)
    watch_commits(other, Base.metadata, settings)
    await execute(Shop(other), *TRIGGER[other.dialect.name])
    await other.dispose()
    before = await tags(shop)
    async with shop.session.begin() as session:
        await session.execute(update(Author).values(slug="anne"))
    assert await tags(shop) != before


@pytest.fixture
async def other(settings: Settings) -> AsyncIterator[Shop]:
    """Yield the shop by an engine whose models are others; it has not asked yet."""
    shop = Shop(create_async_engine(settings.database_url))
    metadata = MetaData()
    Author.metadata.tables[Author.__tablename__].to_metadata(metadata)
    watch_commits(shop.engine, metadata, settings)
    yield shop
    await shop.engine.dispose()


async def rename_authors(shop: Shop) -> None:
    await execute(shop, "UPDATE shop_authors SET slug = 'anne'")


async def test_so_do_those_with_other_models(shop: Shop, other: Shop) -> None:
    await execute(other, "SELECT 1")  # it has asked, and connects no more
    await execute(shop, *TRIGGER[shop.engine.dialect.name])
    before = await tags(shop)
    await rename_authors(other)
    assert await tags(shop) != before


async def test_a_question_that_fails_fails_nothing_else_and_hides_nothing(
    shop: Shop, other: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by PostgreSQL's `statement_timeout`."""
    database = shop.engine.dialect.name
    await execute(shop, *TRIGGER[database])
    before = await tags(shop)
    with monkeypatch.context() as patch:
        patch.setitem(_CATALOG, database, "SELECT nothing FROM nowhere")
        await rename_authors(other)
    assert await tags(shop) != before


async def test_an_answer_of_another_database_does_not_tell_all(
    shop: Shop, other: Shop, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = shop.engine.dialect.name
    await execute(shop, *TRIGGER[database])
    elsewhere = Shop(create_async_engine(settings.database_url))
    watch_commits(elsewhere.engine, MetaData(), settings)
    with monkeypatch.context() as patch:
        patch.setitem(_CATALOG, database, "SELECT nothing FROM nowhere")
        await execute(other, "SELECT 1")
    answer = "SELECT 'reader', 'nothing', '', '', ''"  # as of an empty database
    with monkeypatch.context() as patch:
        patch.setitem(_CATALOG, database, answer)
        await execute(elsewhere, "CREATE TABLE shop_more (id INTEGER)")
    before = await tags(shop)
    await rename_authors(other)
    assert await tags(shop) != before
    await execute(elsewhere, "DROP TABLE shop_more")
    await elsewhere.engine.dispose()


async def test_who_asks_before_the_commit_asks_again(shop: Shop) -> None:
    async with shop.engine.begin() as connection:
        for each in TRIGGER[shop.engine.dialect.name]:
            await connection.execute(text(each))
        await tags(shop)  # by another connection, which does not see it yet
    before = await tags(shop)
    async with shop.session.begin() as session:
        await session.execute(update(Author).values(slug="anne"))
    assert await tags(shop) != before


async def test_a_trigger_of_what_is_deleted_by_a_foreign_key_counts(
    shop: Shop,
) -> None:
    """Of the links, when their tag is deleted."""
    on_links = [
        each.replace("AFTER UPDATE ON shop_authors", "AFTER DELETE ON " + link.name)
        for each in TRIGGER[shop.engine.dialect.name]
    ]
    await execute(shop, *on_links)
    async with shop.session.begin() as session:
        await session.execute(insert(Tag).values(id=7, name="seven"))
        await session.execute(insert(link).values(article_id=1, tag_id=7))
    before = await tags(shop)
    async with shop.session.begin() as session:
        await session.execute(delete(Tag).where(Tag.id == 7))
    assert await tags(shop) == [[1, "by trigger"], [2, "by trigger"]] != before


async def test_what_only_the_database_deletes_is_seen(shop: Shop) -> None:
    """The model says nothing of ON DELETE here."""
    await execute(
        shop,
        f"DROP TABLE {link.name}",
        f"CREATE TABLE {link.name} (tag_id INTEGER, article_id INTEGER "
        "REFERENCES shop_articles (id) ON DELETE CASCADE)",
    )
    async with shop.session.begin() as session:
        await session.execute(insert(link).values(article_id=1, tag_id=1))
    assert await links(shop) == [[1, 1]]
    async with shop.session.begin() as session:
        await session.execute(delete(Article).where(Article.id == 1))
    assert await links(shop) == []


COLLATED = {
    "sqlite": ["CREATE TABLE shop_authors (slug TEXT PRIMARY KEY COLLATE NOCASE)"],
    "postgresql": [
        "CREATE DOMAIN shop_slug AS text",  # nobody looks how that compares
        "CREATE TABLE shop_authors (slug shop_slug PRIMARY KEY)",
    ],
}


async def test_texts_that_only_the_database_takes_for_equal_are_not_told_apart(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "rules", dict(rules.rules))
    touches(Author, "shop-authors:{slug}")

    @cached(namespace="shop-authors", key_builder=key_of, expire=100)
    async def author(shop: Shop, *, slug: str) -> list[Any]:
        return await shop.rows(select(Author.slug).where(Author.slug == slug))

    dialect = shop.engine.dialect.name
    dropped = "DROP TABLE shop_posts", "DROP TABLE shop_authors"
    await execute(shop, *dropped, *COLLATED[dialect])
    assert await author(shop, slug="ANN") == []
    async with shop.session.begin() as session:
        session.add(Author(slug="ann"))
    runs = shop.runs
    assert await author(shop, slug="ANN") == ([["ann"]] if dialect == "sqlite" else [])
    assert shop.runs == runs + 1
    async with shop.session.begin() as session:
        await session.execute(delete(Author).where(Author.slug == "Ann"))
    assert await author(shop, slug="ANN") == []
    assert shop.runs == runs + 2


async def test_what_the_models_say_is_no_reason_to_drop_everything(shop: Shop) -> None:
    await links(shop)
    runs = shop.runs
    async with shop.session.begin() as session:
        await session.execute(update(Author).values(slug="anne"))
    await links(shop)
    assert shop.runs == runs
