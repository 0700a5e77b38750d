"""C3: whatever way a row is written, the commit makes what was read of it stale."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import (
    Column,
    Computed,
    Connection,
    ForeignKey,
    Insert,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    event,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Mapped, mapped_column

from app.cache import cached, invalidate_namespace, touches, watch_commits
from app.cache.engine import rules
from app.config import Settings
from app.database import Database
from tests.engine.each import on_one_storage
from tests.engine.shop import (
    Article,
    Author,
    Base,
    Employee,
    Engineer,
    Manager,
    Post,
    Shop,
    Tag,
    article,
    engineers,
    key_of,
    link,
    managers,
    opened,
    posts,
    tag,
    tags,
)

pytestmark = on_one_storage


Read = Callable[[Shop], Awaitable[list[Any]]]
Write = Callable[[AsyncSession], Awaitable[Any]]
TAGS = Tag.metadata.tables[Tag.__tablename__]


@pytest.fixture(params=["rules", "no rules"])
def ruled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Have rules for the models, and then none: a forgotten one must not matter."""
    monkeypatch.setattr(rules, "rules", dict(rules.rules))
    if request.param == "rules":
        touches(Article, "shop-articles:{id}")
        touches(Tag, "shop-tags:{id}", "shop-tags:list")
        touches(Manager, "shop-managers")
        touches(Engineer, "shop-engineers")
        touches(Post, "shop-posts")
    return bool(request.param == "rules")


@pytest.fixture
async def shop(app: FastAPI, ruled: bool, settings: Settings) -> AsyncIterator[Shop]:
    async with opened(settings) as shop:
        yield shop


async def first_article(shop: Shop) -> list[Any]:
    return await article(shop, id=1)


async def second_tag(shop: Shop) -> list[Any]:
    return await tag(shop, id=2)


OR = text("1 = 1 OR id = 2")  # which is in no parentheses


@cached(namespace="shop-tags", key_builder=key_of, expire=100)
async def tag_or(shop: Shop, *, id: int) -> list[Any]:
    return await shop.rows(select(Tag.id, Tag.name).where(Tag.id == id, OR))


async def first_tag_or_second(shop: Shop) -> list[Any]:
    return await tag_or(shop, id=1)


WAYS: list[tuple[Read, Write]] = []


def way(read: Read) -> Callable[[Write], Write]:
    def enlist(write: Write) -> Write:
        WAYS.append((read, write))
        return write

    return enlist


@way(tags)
async def flush_of_a_new_row(session: AsyncSession) -> None:
    session.add(Tag(id=3, name="three"))


@way(tags)
async def flush_of_many_new_rows(session: AsyncSession) -> None:
    session.add_all([Tag(name=f"new {n}") for n in range(20)])


@way(tags)
async def flush_of_a_changed_row(session: AsyncSession) -> None:
    (await session.get_one(Tag, 1)).name = "changed"


@way(tags)
async def flush_of_a_deleted_row(session: AsyncSession) -> None:
    await session.delete(await session.get_one(Tag, 2))


@way(tags)
async def flush_in_a_savepoint(session: AsyncSession) -> None:
    async with session.begin_nested():
        (await session.get_one(Tag, 1)).name = "nested"


@way(first_article)
async def relationship_append(session: AsyncSession) -> None:
    found = await session.get_one(Article, 1)
    await _tags_of(session, found)
    found.tags.append(await session.get_one(Tag, 2))


@way(first_article)
async def relationship_clear(session: AsyncSession) -> None:
    found = await session.get_one(Article, 1)
    await _tags_of(session, found)
    found.tags.clear()


async def _tags_of(session: AsyncSession, found: Article) -> None:
    await session.refresh(found, ["tags"])


@way(first_article)
async def delete_that_cascades_to_a_link(session: AsyncSession) -> None:
    await session.execute(delete(Tag).where(Tag.id == 1))


@way(first_article)
async def insert_into_a_secondary_table(session: AsyncSession) -> None:
    await session.execute(insert(link).values(article_id=1, tag_id=2))


@way(first_article)
async def rename_of_a_related_row(session: AsyncSession) -> None:
    await session.execute(update(Tag).where(Tag.id == 1).values(name="related"))


@way(tags)
async def merge(session: AsyncSession) -> None:
    await session.merge(Tag(id=1, name="merged"))


@way(tags)
async def bulk_update_mappings(session: AsyncSession) -> None:
    rows = [{"id": 1, "name": "mapped"}]
    await session.run_sync(lambda sync: sync.bulk_update_mappings(Tag, rows))


@way(tags)
async def bulk_insert_mappings(session: AsyncSession) -> None:
    rows = [{"id": 9, "name": "mapped"}]
    await session.run_sync(lambda sync: sync.bulk_insert_mappings(Tag, rows))


@way(tags)
async def bulk_save_objects(session: AsyncSession) -> None:
    await session.run_sync(lambda sync: sync.bulk_save_objects([Tag(id=9, name="s")]))


@way(tags)
async def query_update(session: AsyncSession) -> None:
    await session.run_sync(
        lambda sync: sync.query(Tag).filter(Tag.id == 1).update({"name": "queried"}),
    )


@way(tags)
async def query_delete(session: AsyncSession) -> None:
    await session.run_sync(lambda sync: sync.query(Tag).filter(Tag.id == 2).delete())


@way(tags)
async def bulk_update(session: AsyncSession) -> None:
    await session.execute(update(Tag).values(name=func.upper(Tag.name)))


@way(tags)
async def bulk_update_by_primary_keys(session: AsyncSession) -> None:
    await session.execute(update(Tag), [{"id": 1, "name": "by key"}])


@way(tags)
async def bulk_update_by_a_subquery(session: AsyncSession) -> None:
    linked = select(link.c.tag_id)
    await session.execute(update(Tag).where(Tag.id.in_(linked)).values(name="linked"))


@way(tags)
async def bulk_update_that_returns(session: AsyncSession) -> None:
    statement = update(Tag).where(Tag.id == 1).values(name="ret").returning(Tag.id)
    assert (await session.scalars(statement)).all() == [1]


@way(tags)
async def bulk_insert(session: AsyncSession) -> None:
    await session.execute(insert(Tag), [{"name": "x"}, {"name": "y"}])


@way(tags)
async def bulk_insert_of_several_values(session: AsyncSession) -> None:
    await session.execute(insert(Tag).values([{"name": "x"}, {"name": "y"}]))


@way(tags)
async def insert_from_select(session: AsyncSession) -> None:
    chosen = select(Tag.id + 100, Tag.name)
    await session.execute(insert(Tag).from_select(["id", "name"], chosen))


@way(tags)
async def upsert(session: AsyncSession) -> None:
    dialect = session.get_bind().dialect.name
    await session.execute(upserted(dialect, Tag, id=1, name="upserted"))


def upserted(dialect: str, model: type[Base], **values: Any) -> Insert:
    added = (postgresql if dialect == "postgresql" else sqlite).insert(model)
    added = added.values(values)
    set_ = {name: added.excluded[name] for name in values}
    upsert: Insert = added.on_conflict_do_update(index_elements=["id"], set_=set_)
    return upsert


@way(tags)
async def core_on_the_connection(session: AsyncSession) -> None:
    connection = await session.connection()
    await connection.execute(update(TAGS).where(TAGS.c.id == 1).values(name="core"))


@way(tags)
async def core_in_many_rows(session: AsyncSession) -> None:
    statement = update(TAGS).where(TAGS.c.id == bindparam("of"))
    rows = [{"of": 1, "name": "m1"}, {"of": 2, "name": "m2"}]
    await (await session.connection()).execute(statement, rows)


@way(tags)
async def plain_text(session: AsyncSession) -> None:
    await session.execute(text("UPDATE shop_tags SET name = 'text' WHERE id = 1"))


@way(tags)
async def text_of_the_driver(session: AsyncSession) -> None:
    connection = await session.connection()
    await connection.exec_driver_sql("/* - */ DELETE FROM shop_tags WHERE id = 2")


@way(tags)
async def texts_of_the_driver_that_add_rows(session: AsyncSession) -> None:
    """Nothing tells the first one's keys, and nothing comes after it."""
    connection = await session.connection()
    await connection.exec_driver_sql("INSERT INTO shop_tags VALUES (7, 'seven')")
    await connection.exec_driver_sql("INSERT INTO shop_articles VALUES (7, 'a')")


@way(tags)
async def text_of_the_driver_before_a_flush(session: AsyncSession) -> None:
    connection = await session.connection()
    await connection.exec_driver_sql("INSERT INTO shop_tags VALUES (7, 'seven')")
    session.add(Article(title="b"))


@way(second_tag)
async def update_whose_text_has_an_or(session: AsyncSession) -> None:
    await session.execute(update(TAGS).where(TAGS.c.id == 1, OR).values(name="or"))


@way(first_tag_or_second)
async def update_of_what_a_text_with_an_or_reads(session: AsyncSession) -> None:
    await session.execute(update(TAGS).where(TAGS.c.id == 2).values(name="or"))


@way(managers)
async def bulk_update_of_a_base_class(session: AsyncSession) -> None:
    await session.execute(
        update(Employee).where(Employee.kind == "manager").values(name="renamed")
    )


@way(managers)
async def bulk_insert_of_a_base_class(session: AsyncSession) -> None:
    await session.execute(insert(Employee), [{"name": "new", "kind": "manager"}])


@way(managers)
async def bulk_delete_of_a_base_class(session: AsyncSession) -> None:
    await session.execute(delete(Employee).where(Employee.kind == "manager"))


@way(engineers)
async def bulk_update_of_a_joined_base_class(session: AsyncSession) -> None:
    await session.execute(
        update(Employee).where(Employee.kind == "engineer").values(name="renamed")
    )


@way(engineers)
async def bulk_delete_of_a_joined_base_class(session: AsyncSession) -> None:
    await session.execute(delete(Employee).where(Employee.kind == "engineer"))


@way(engineers)
async def flush_of_a_subclass(session: AsyncSession) -> None:
    (await session.get_one(Engineer, 2)).level = 7


@way(posts)
async def primary_key_that_cascades(session: AsyncSession) -> None:
    (await session.get_one(Author, "ann")).slug = "anna"


@way(posts)
async def bulk_update_that_cascades(session: AsyncSession) -> None:
    await session.execute(update(Author).where(Author.slug == "ann").values(slug="b"))


@way(posts)
async def text_that_cascades(session: AsyncSession) -> None:
    await session.execute(text("UPDATE shop_authors SET slug = 'b'"))


@way(posts)
async def delete_that_sets_null(session: AsyncSession) -> None:
    await session.execute(delete(Author).where(Author.slug == "ann"))


@way(tags)
async def table_that_is_emptied(session: AsyncSession) -> None:
    connection = await session.connection()
    await connection.execute(delete(link))
    if connection.dialect.name == "postgresql":
        await connection.execute(text("TRUNCATE shop_tags CASCADE"))
    else:
        await connection.execute(text("DELETE FROM shop_tags"))


@pytest.mark.parametrize(
    ("read", "write"), WAYS, ids=[write.__name__ for _, write in WAYS]
)
async def test_a_write_is_seen_by_the_next_read(
    shop: Shop, read: Read, write: Write
) -> None:
    await read(shop)  # the first run after other rules tells which tables it reads
    before = await read(shop)
    runs = shop.runs
    assert await read(shop) == before
    assert shop.runs == runs, "it was not cached"
    async with shop.session.begin() as session:
        await write(session)
    after = await read(shop)
    assert after != before
    assert shop.runs == runs + 1
    assert await read(shop) == after


async def test_a_transaction_of_the_engine_alone_is_seen(shop: Shop) -> None:
    before = await tags(shop)
    async with shop.engine.begin() as connection:
        await connection.execute(update(TAGS).values(name="engine"))
    assert await tags(shop) != before
    before = await tags(shop)
    async with shop.engine.connect() as connection:
        await connection.execute(update(TAGS).values(name="connection"))
        await connection.commit()
        assert await tags(shop) != before


async def test_a_statement_that_commits_by_itself_is_seen(shop: Shop) -> None:
    before = await tags(shop)
    async with shop.engine.connect() as connection:
        alone = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await alone.execute(update(TAGS).values(name="alone"))
        assert await tags(shop) != before


@pytest.mark.parametrize("ends", ["COMMIT", "ROLLBACK"])
async def test_what_follows_a_textual_end_is_seen(
    shop: Shop, database: Database, ends: str
) -> None:
    """No transaction is under way then, so the closing rollback takes nothing back."""
    before = await tags(shop)
    async with database.engine.connect() as connection:
        await connection.execute(select(1))
        await connection.exec_driver_sql(ends)
        await connection.execute(text("UPDATE shop_tags SET name = 'loose'"))
    assert await tags(shop) != before


async def test_what_is_read_of_another_engines_tables_depends_on_them(
    shop: Shop, database: Database
) -> None:
    """The service's own engine knows nothing of the shop's models."""

    @cached(namespace="shop-tags", key_builder=key_of, expire=100)
    async def of_the_service(shop: Shop) -> list[Any]:
        async with database.session(writes=False) as session:
            return [
                list(row) for row in await session.execute(select(Tag.id, Tag.name))
            ]

    before = await of_the_service(shop)
    assert await of_the_service(shop) == before
    async with shop.session.begin() as session:
        await session.execute(update(Tag).values(name="another"))
    assert await of_the_service(shop) != before


async def test_a_foreign_key_to_a_table_that_is_not_declared_does_no_harm(
    shop: Shop, settings: Settings
) -> None:
    """As of tables that another program owns, some of which have no model here."""
    metadata = MetaData()
    names = Table(Tag.__tablename__, metadata, Column("name", String(50)))
    author = ForeignKey("shop_authors.slug", ondelete="SET NULL")
    Table(Post.__tablename__, metadata, Column("author_slug", author))
    engine = create_async_engine(settings.database_url)
    watch_commits(engine, metadata, settings)
    before = await tags(shop)
    async with engine.begin() as connection:
        await connection.execute(update(names).values(name="without it"))
    await engine.dispose()
    assert await tags(shop) != before


async def test_an_engine_that_commits_by_itself_is_seen(
    shop: Shop, settings: Settings
) -> None:
    before = await tags(shop)
    engine = create_async_engine(settings.database_url, isolation_level="AUTOCOMMIT")
    watch_commits(engine, Tag.metadata, settings)
    async with engine.connect() as connection:
        await connection.execute(update(TAGS).values(name="by itself"))
    await engine.dispose()
    assert await tags(shop) != before


def lose(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next statement carried out, and nobody wait for its answer."""
    original = shop.engine.dialect.do_execute

    def cancelled(*arguments: Any) -> None:
        monkeypatch.undo()
        original(*arguments)
        raise asyncio.CancelledError

    monkeypatch.setattr(shop.engine.dialect, "do_execute", cancelled)


async def test_a_statement_that_commits_is_seen_though_it_is_cancelled(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await tags(shop)
    async with shop.engine.connect() as connection:
        alone = await connection.execution_options(isolation_level="AUTOCOMMIT")
        lose(shop, monkeypatch)
        with pytest.raises(asyncio.CancelledError):
            await alone.execute(update(TAGS).values(name="cancelled"))
    assert await tags(shop) != before


async def test_a_transaction_whose_connection_is_given_up_is_over(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that lives on is given cached values again."""
    await tags(shop)
    async with shop.engine.connect() as connection:
        await connection.execute(update(TAGS).values(name="lost"))
        lose(shop, monkeypatch)
        with pytest.raises(asyncio.CancelledError):
            await connection.execute(select(1))
    runs = shop.runs
    await tags(shop)
    assert shop.runs == runs


async def test_what_a_listener_of_the_engines_own_writes_is_seen(
    shop: Shop, settings: Settings
) -> None:
    before = await tags(shop)
    engine = create_async_engine(settings.database_url)

    @event.listens_for(engine.sync_engine, "begin")
    def audit(connection: Connection) -> None:
        connection.execute(update(TAGS).values(name="by a listener"))

    watch_commits(engine, Tag.metadata, settings)
    async with engine.begin() as connection:
        await connection.execute(select(1))
    await engine.dispose()
    assert await tags(shop) != before


class Label(str, Enum):  # noqa: UP042 - its str() is "Label.one"
    one = "one"


_numbers: list[int] = []


class Made(Base):
    """A table whose columns the database does not store as they are given."""

    __tablename__ = "shop_made"
    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(String(50), default="none")
    shelf: Mapped[int] = mapped_column(default=0)
    price: Mapped[int] = mapped_column(default=0)
    tens: Mapped[int] = mapped_column(Computed("price / 10", persisted=True))
    number: Mapped[int] = mapped_column(
        default=lambda: _numbers.pop() if _numbers else 0
    )


COLUMNS = ["id", "label", "shelf", "tens", "number"]


@cached(namespace="shop-made", key_builder=key_of, expire=100)
async def made(shop: Shop, *, column: str, value: Any) -> list[Any]:
    found = getattr(Made, column)
    return await shop.rows(select(Made.id, Made.price).where(found == value))


async def flush_of_a_price(session: AsyncSession) -> None:
    (await session.get_one(Made, 1)).price = 25


async def insert_of_an_enum(session: AsyncSession) -> None:
    await session.execute(insert(Made).values(id=2, label=Label.one))


async def update_to_an_enum(session: AsyncSession) -> None:
    await session.execute(update(Made).where(Made.id == 1).values(label=Label.one))


async def flush_of_an_enum(session: AsyncSession) -> None:
    (await session.get_one(Made, 1)).label = Label.one


async def insert_of_an_expression(session: AsyncSession) -> None:
    lower = func.lower(bindparam("label"))
    added = insert(Made).values(label=lower)
    await session.execute(added, [{"id": 2, "label": "ONE"}])


async def update_to_an_expression(session: AsyncSession) -> None:
    more = update(Made).where(Made.shelf == 0, Made.id == 1)
    more = more.values(shelf=Made.shelf + 1 + bindparam("shelf"))
    await (await session.connection()).execute(more, {"shelf": 1})


async def insert_of_rows_with_numbers(session: AsyncSession) -> None:
    _numbers[:] = 8, 7
    await session.execute(insert(Made).values([{"id": 2}, {"id": 3}]))


@pytest.mark.parametrize(
    ("column", "value", "write"),
    [
        ("tens", 2, flush_of_a_price),
        ("label", "one", insert_of_an_expression),
        ("shelf", 2, update_to_an_expression),
        ("number", 8, insert_of_rows_with_numbers),
        ("label", "one", insert_of_an_enum),
        ("label", "one", update_to_an_enum),
        ("label", "one", flush_of_an_enum),
    ],
)
async def test_a_rule_is_not_trusted_where_the_database_has_another_value(
    shop: Shop, column: str, value: Any, write: Write
) -> None:
    touches(Made, *(f"shop-made:{name}:{{{name}}}" for name in COLUMNS))
    async with shop.session.begin() as session:
        session.add(Made(id=1))
    for _ in range(2):
        assert await made(shop, column=column, value=value) == []
    async with shop.session.begin() as session:
        await write(session)
    assert await made(shop, column=column, value=value) != []


async def test_a_new_key_is_known_where_none_was_given(shop: Shop) -> None:
    touches(Made, *(f"shop-made:{name}:{{{name}}}" for name in COLUMNS))
    assert await made(shop, column="id", value=1) == []
    async with shop.engine.begin() as connection:
        row = {"label": "a", "shelf": 1, "price": 1}
        if connection.dialect.name == "sqlite":  # PostgreSQL takes it for a NULL
            row["id"] = None
        await connection.execute(insert(Made).values(row))
    assert await made(shop, column="id", value=1) == [[1, 1]]


@pytest.mark.parametrize("change", ["update", "delete"])
async def test_an_object_does_not_know_where_its_row_is_now(
    shop: Shop, change: str
) -> None:
    """Another transaction moves the row between its load and its flush."""
    touches(Made, *(f"shop-made:{name}:{{{name}}}" for name in COLUMNS))
    async with shop.session() as old:
        old.add(Made(id=1, shelf=1))
        await old.commit()
        item = await old.get_one(Made, 1)
        await old.commit()
        async with shop.session.begin() as session:
            await session.execute(update(Made).where(Made.id == 1).values(shelf=5))
        for _ in range(2):
            assert await made(shop, column="shelf", value=5) == [[1, 0]]
        if change == "update":
            item.price = 25
        else:
            await old.delete(item)
        await old.commit()
    left = [[1, 25]] if change == "update" else []
    assert await made(shop, column="shelf", value=5) == left


async def test_an_upsert_does_not_tell_what_the_row_was_before(shop: Shop) -> None:
    touches(Made, *(f"shop-made:{name}:{{{name}}}" for name in COLUMNS))
    async with shop.session.begin() as session:
        session.add(Made(id=1, shelf=1))
    for _ in range(2):
        assert await made(shop, column="shelf", value=1) == [[1, 0]]
    dialect = shop.engine.dialect.name
    async with shop.session.begin() as session:
        await session.execute(upserted(dialect, Made, id=1, shelf=5))
    assert await made(shop, column="shelf", value=1) == []


async def test_a_rollback_drops_nothing(shop: Shop) -> None:
    before, runs = await tags(shop), shop.runs
    async with shop.session() as session:
        await session.execute(update(Tag).values(name="never"))
        await session.rollback()
    assert await tags(shop) == before
    assert shop.runs == runs


@pytest.mark.parametrize("ruled", ["rules"], indirect=True)
async def test_with_rules_the_change_of_a_row_leaves_another_row_a_hit(
    shop: Shop,
) -> None:
    await tag(shop, id=1)
    await tag(shop, id=2)
    runs = shop.runs
    async with shop.session.begin() as session:
        (await session.get_one(Tag, 1)).name = "changed"
    await tag(shop, id=2)
    assert shop.runs == runs
    assert (await tag(shop, id=1))[0][1] == "changed"
    assert shop.runs == runs + 1


@pytest.mark.parametrize("ruled", ["rules"], indirect=True)
async def test_a_rule_that_does_not_reach_the_key_proves_nothing(shop: Shop) -> None:
    """The list has no rule for this key, so each change of the table counts."""
    before = await tags(shop, which="elsewhere")
    async with shop.session.begin() as session:
        (await session.get_one(Tag, 1)).name = "changed"
    assert await tags(shop, which="elsewhere") != before


async def test_random_reads_and_writes_are_never_stale(shop: Shop) -> None:
    chance = random.Random(13)  # noqa: S311 - the same in every run
    reads: list[Read] = [
        tags,
        first_article,
        lambda shop: tag(shop, id=1),
        lambda shop: tag(shop, id=2),
        lambda shop: tags(shop, which="elsewhere"),
    ]
    for number in range(200):
        if chance.random() < 0.3:
            async with shop.session.begin() as session:
                of = chance.choice([1, 2])
                name = f"{number}"
                match chance.randrange(4):
                    case 0:
                        (await session.get_one(Tag, of)).name = name
                    case 1:
                        await session.execute(
                            update(Tag).where(Tag.id == of).values(name=name)
                        )
                    case 2:
                        session.add(Tag(name=name))
                    case _:
                        await session.execute(
                            text("UPDATE shop_tags SET name = :n"), {"n": name}
                        )
        else:
            read = chance.choice(reads)
            cached = await read(shop)
            async with shop.session.begin() as session:
                rows = await session.execute(select(Tag.id, Tag.name))
                names = {row[0]: row[1] for row in rows}
                linked = await session.scalars(select(link.c.tag_id))
                if read is first_article:
                    true: list[Any] = ["a", [names[id] for id in sorted(linked)]]
                else:
                    true = sorted([id, name] for id, name in names.items())
                    if len(cached) == 1:
                        true = [row for row in true if row[0] == cached[0][0]]
            assert cached == true


async def test_by_hand_it_is_dropped_at_once_and_again_by_the_commit(
    shop: Shop,
) -> None:
    await tags(shop)
    runs = shop.runs
    async with shop.session.begin() as session:
        await session.execute(select(Tag.id))
        await invalidate_namespace("shop-tags")
        await tags(shop)  # by another session: it reads what was there before
        assert shop.runs == runs + 1
    await tags(shop)
    assert shop.runs == runs + 2
