"""Tables of an owner's own, in the service's database, and cached reads of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Column, ForeignKey, String, Table, event, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    mapped_column,
    relationship,
    selectinload,
)

from app.cache import cached, watch_commits
from app.config import Settings


class Base(DeclarativeBase):
    pass


link = Table(
    "shop_article_tags",
    Base.metadata,
    Column("article_id", ForeignKey("shop_articles.id"), primary_key=True),
    Column("tag_id", ForeignKey("shop_tags.id", ondelete="CASCADE"), primary_key=True),
)


class Article(Base):
    __tablename__ = "shop_articles"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(50))
    tags: Mapped[list["Tag"]] = relationship(secondary=link, order_by="Tag.id")


class Tag(Base):
    __tablename__ = "shop_tags"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))


class Employee(Base):
    __tablename__ = "shop_employees"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    kind: Mapped[str] = mapped_column(String(10))
    __mapper_args__ = {  # noqa: RUF012
        "polymorphic_on": "kind",
        "polymorphic_identity": "employee",
    }


class Manager(Employee):
    __mapper_args__ = {"polymorphic_identity": "manager"}  # noqa: RUF012


class Engineer(Employee):
    __tablename__ = "shop_engineers"
    id: Mapped[int] = mapped_column(
        ForeignKey("shop_employees.id", ondelete="CASCADE"), primary_key=True
    )
    level: Mapped[int] = mapped_column(default=1)
    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012


class Author(Base):
    __tablename__ = "shop_authors"
    slug: Mapped[str] = mapped_column(String(50), primary_key=True)


class Post(Base):
    __tablename__ = "shop_posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_slug: Mapped[str | None] = mapped_column(
        ForeignKey("shop_authors.slug", onupdate="CASCADE", ondelete="SET NULL")
    )


def key_of(_: Any, namespace: str, *, kwargs: dict[str, Any], **__: Any) -> str:
    return ":".join([namespace, *(str(v) for n, v in kwargs.items() if n != "shop")])


class Shop:
    """The tables while they are there."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.session = async_sessionmaker(engine, expire_on_commit=False)
        self.runs = 0

    async def rows(self, query: Any) -> list[list[Any]]:
        self.runs += 1
        async with self.session() as session:
            return [list(row) for row in (await session.execute(query)).all()]


@cached(namespace="shop-articles", key_builder=key_of, expire=100)
async def article(shop: Shop, *, id: int) -> list[Any]:
    shop.runs += 1
    async with shop.session() as session:
        found = await session.get(Article, id, options=[selectinload(Article.tags)])
        return [found.title, [tag.name for tag in found.tags]] if found else []


@cached(namespace="shop-tags", key_builder=key_of, expire=100)
async def tag(shop: Shop, *, id: int) -> list[Any]:
    return await shop.rows(select(Tag.id, Tag.name).where(Tag.id == id))


@cached(namespace="shop-tags", key_builder=key_of, expire=100)
async def tags(shop: Shop, *, which: str = "list") -> list[Any]:
    return await shop.rows(select(Tag.id, Tag.name).order_by(Tag.id))


@cached(namespace="shop-managers", key_builder=key_of, expire=100)
async def managers(shop: Shop) -> list[Any]:
    return await shop.rows(select(Manager.id, Manager.name).order_by(Manager.id))


@cached(namespace="shop-engineers", key_builder=key_of, expire=100)
async def engineers(shop: Shop) -> list[Any]:
    return await shop.rows(
        select(Engineer.id, Engineer.name, Engineer.level).order_by(Engineer.id)
    )


@cached(namespace="shop-posts", key_builder=key_of, expire=100)
async def posts(shop: Shop) -> list[Any]:
    return await shop.rows(select(Post.id, Post.author_slug).order_by(Post.id))


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Shop]:
    """Yield the shop with a few rows; its tables go with the test's database."""
    engine = create_async_engine(settings.database_url)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _foreign_keys)
    watch_commits(engine, Base.metadata, settings)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    shop = Shop(engine)
    async with shop.session.begin() as session:
        session.add_all(
            [Article(title="a", tags=[Tag(name="one")]), Author(slug="ann")]
        )
        await session.flush()
        session.add_all([Tag(name="two"), Manager(name="m"), Post(author_slug="ann")])
        await session.flush()
        session.add(Engineer(name="e"))
    try:
        yield shop
    finally:
        await engine.dispose()


def _foreign_keys(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
