"""Cached reads of tables, with rules or without, and the ways of writing to them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, BackgroundTasks, HTTPException, Request
from sqlalchemy import (
    Column,
    ForeignKey,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship, selectinload

from app.cache import cached, invalidate_namespace, touches
from app.database import Database, SessionDep
from app.database.base import Base
from app.managers.auth import CurrentUser
from app.models.user import User
from tests.oracle.parts import ran, stock

# The models.

link = Table(
    "oracle_article_tags",
    Base.metadata,
    Column(
        "article_id",
        ForeignKey("oracle_articles.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column(
        "tag_id", ForeignKey("oracle_tags.id", ondelete="CASCADE"), primary_key=True
    ),
)


class Article(Base):
    __tablename__ = "oracle_articles"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(50))
    tags: Mapped[list["Tag"]] = relationship(
        secondary=link, order_by="Tag.id", passive_deletes=True
    )


class Tag(Base):
    __tablename__ = "oracle_tags"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))


class Employee(Base):
    __tablename__ = "oracle_employees"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    kind: Mapped[str] = mapped_column(String(10))
    __mapper_args__ = {  # noqa: RUF012 - SQLAlchemy's own form
        "polymorphic_on": "kind",
        "polymorphic_identity": "employee",
    }


class Manager(Employee):
    __mapper_args__ = {"polymorphic_identity": "manager"}  # noqa: RUF012


class Engineer(Employee):
    __tablename__ = "oracle_engineers"
    id: Mapped[int] = mapped_column(
        ForeignKey("oracle_employees.id", ondelete="CASCADE"), primary_key=True
    )
    level: Mapped[int] = mapped_column(default=1)
    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012


class Author(Base):
    __tablename__ = "oracle_authors"
    slug: Mapped[str] = mapped_column(String(50), primary_key=True)


class Post(Base):
    __tablename__ = "oracle_posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_slug: Mapped[str | None] = mapped_column(
        ForeignKey("oracle_authors.slug", onupdate="CASCADE", ondelete="SET NULL")
    )


class Note(Base):
    """A model whose owner forgot the rule."""

    __tablename__ = "oracle_notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str] = mapped_column(String(50))


touches(Article, "articles:{id}", "articles:all")
touches(Tag, "tags", "articles")
touches(Manager, "managers")
touches(Engineer, "engineers")
touches(Post, "posts")


async def fill(session: AsyncSession) -> None:
    one, two = Tag(name="one"), Tag(name="two")
    session.add_all([one, two, Author(slug="ann"), Author(slug="bob")])
    session.add_all([Article(title="a", tags=[one]), Article(id=10, title="b")])
    session.add_all([Manager(name="m"), Note(body="n")])
    await session.flush()
    session.add_all([Engineer(name="e"), Post(author_slug="ann")])
    session.add(Post(author_slug="bob"))


# Reads.


class Gate:
    """Where a slow read can be held, after it has read and before it answers."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.reached = asyncio.Event()
        self.opened.set()

    async def pass_through(self) -> None:
        if not self.opened.is_set():
            self.reached.set()
            await self.opened.wait()


gate = [Gate()]
router = APIRouter(prefix="/tables")
READS = ["/tables/articles/1", "/tables/articles/10", "/tables/articles"]


def by_id(func: object, namespace: str, **given: Any) -> str:
    return f"{namespace}:{given['kwargs']['article_id']}"


def _shown(article: Article) -> list[Any]:
    return [article.title, [tag.name for tag in article.tags]]


@router.get("/articles/{article_id}")
@cached(namespace="articles", key_builder=by_id)
async def article(article_id: int, session: SessionDep) -> Any:
    ran("handler article")
    load = selectinload(Article.tags)
    found = await session.get(Article, article_id, options=[load])
    await gate[0].pass_through()
    return _shown(found) if found else None


@router.get("/articles")
@cached(namespace="articles:all")
async def articles(session: SessionDep, user: CurrentUser) -> Any:
    """Keyed by default, with a principal: fresh after a rename, too."""
    ran("handler articles")
    query = select(Article).options(selectinload(Article.tags)).order_by(Article.id)
    found = [_shown(each) for each in await session.scalars(query)]
    await gate[0].pass_through()
    return [user.first_name, found]


def _table(name: str, model: type[Base]) -> None:
    columns = model.__mapper__.column_attrs

    @router.get(f"/{name}")
    @cached(namespace=name)
    async def read(session: SessionDep) -> Any:
        ran(f"handler {name}")
        query = select(model).order_by(*model.__mapper__.primary_key)
        rows = list(await session.scalars(query))
        await gate[0].pass_through()
        return [{c.key: getattr(row, c.key) for c in columns} for row in rows]

    READS.append(f"/tables/{name}")


_table("tags", Tag)
_table("managers", Manager)
_table("engineers", Engineer)
_table("posts", Post)
_table("notes", Note)


# Writes: each gets a session, whose commit the request makes, and a number.

Way = Callable[[AsyncSession, int], Awaitable[object]]
WAYS: dict[str, Way] = {}


def way(write: Way) -> Way:
    WAYS[write.__name__] = write
    return write


def sync(work: Callable[[Session, int], object]) -> Way:
    async def write(session: AsyncSession, n: int) -> object:
        return await session.run_sync(lambda inner: work(inner, n))

    write.__name__ = work.__name__
    return write


@way
async def tag_renamed(s: AsyncSession, n: int) -> None:
    if tag := await s.get(Tag, 1 + n % 2):
        tag.name = f"renamed {n}"


@way
async def tag_added(s: AsyncSession, n: int) -> None:
    s.add(Tag(name=f"added {n}"))


@way
async def tag_deleted(s: AsyncSession, n: int) -> None:
    if tag := await s.get(Tag, 1 + n % 2):
        await s.delete(tag)


@way
async def article_renamed(s: AsyncSession, n: int) -> None:
    if found := await s.get(Article, 10 if n % 2 else 1):
        found.title = f"renamed {n}"


@way
async def article_deleted(s: AsyncSession, n: int) -> None:
    await s.execute(delete(Article).where(Article.id == 10))


@way
async def tags_updated(s: AsyncSession, n: int) -> None:
    await s.execute(update(Tag).where(Tag.id == 1).values(name=f"bulk {n}"))


@way
async def tags_updated_by_key(s: AsyncSession, n: int) -> None:
    await s.execute(update(Tag), [{"id": 1, "name": f"by key {n}"}])


@way
async def tags_inserted(s: AsyncSession, n: int) -> None:
    await s.execute(insert(Tag), [{"name": f"bulk {n}"}, {"name": "bulk too"}])


@way
async def tag_merged(s: AsyncSession, n: int) -> None:
    await s.merge(Tag(id=1, name=f"merged {n}"))


@way
async def in_savepoint(s: AsyncSession, n: int) -> None:
    async with s.begin_nested():
        await tag_renamed(s, n)


@way
async def savepoint_undone(s: AsyncSession, n: int) -> None:
    await article_renamed(s, n)
    async with s.begin_nested() as savepoint:
        await tag_renamed(s, n)
        await savepoint.rollback()


@way
async def rolled_back(s: AsyncSession, n: int) -> None:
    await tag_renamed(s, n)
    await s.flush()
    raise HTTPException(409, "undone")


@way
async def committed_then_failed(s: AsyncSession, n: int) -> None:
    await tag_renamed(s, n)
    await s.commit()
    raise HTTPException(418, "but it is written")


@way
async def author_deleted(s: AsyncSession, n: int) -> None:
    await s.execute(delete(Author).where(Author.slug == "bob"))


@way
@sync
def query_updated(s: Session, n: int) -> None:
    s.query(Tag).filter(Tag.id == 1).update({"name": f"query {n}"})


@way
async def tag_appended(s: AsyncSession, n: int) -> None:
    found = await s.get(Article, 1, options=[selectinload(Article.tags)])
    tag = await s.get(Tag, 2)
    if found and tag and tag not in found.tags:
        found.tags.append(tag)


@way
async def tags_cleared(s: AsyncSession, n: int) -> None:
    if found := await s.get(Article, 1, options=[selectinload(Article.tags)]):
        found.tags.clear()


@way
async def link_inserted(s: AsyncSession, n: int) -> None:
    await s.execute(delete(link))
    source = select(Article.id, Tag.id).where(Tag.id == 1 + n % 2)
    await s.execute(insert(link).from_select(["article_id", "tag_id"], source))


@way
@sync
def mappings_updated(s: Session, n: int) -> None:
    s.bulk_update_mappings(Tag.__mapper__, [{"id": 1, "name": f"mapping {n}"}])


@way
@sync
def mappings_inserted(s: Session, n: int) -> None:
    s.bulk_insert_mappings(Tag.__mapper__, [{"name": f"mapping {n}"}])


@way
@sync
def objects_saved(s: Session, n: int) -> None:
    s.bulk_save_objects([Tag(name=f"saved {n}")])


@way
async def core_on_session(s: AsyncSession, n: int) -> None:
    await s.execute(update(Tag.__table__).values(name=f"core {n}"))  # type: ignore[arg-type] # a Table


@way
async def core_on_connection(s: AsyncSession, n: int) -> None:
    await (await s.connection()).execute(update(Tag).values(name=f"connection {n}"))


@way
async def core_many(s: AsyncSession, n: int) -> None:
    query = update(Tag).where(Tag.id == bindparam("key")).values(name=bindparam("to"))
    connection = await s.connection()
    await connection.execute(query, [{"key": key, "to": f"{n}"} for key in (1, 2)])


@way
async def on_engine(s: AsyncSession, n: int) -> None:
    """A transaction of its own, beside the session's."""
    assert isinstance(s.bind, AsyncEngine)
    async with s.bind.begin() as connection:
        await connection.execute(insert(Tag).values(name=f"engine {n}"))


@way
async def by_text(s: AsyncSession, n: int) -> None:
    await s.execute(text("UPDATE oracle_tags SET name = :to"), {"to": f"text {n}"})


@way
async def by_returning(s: AsyncSession, n: int) -> None:
    query = update(Tag).where(Tag.id == 1).values(name=f"returned {n}")
    await s.execute(query.returning(Tag.id))


@way
async def by_cte(s: AsyncSession, n: int) -> None:
    if s.get_bind().dialect.name == "postgresql":
        changed = update(Tag).values(name=f"cte {n}").returning(Tag.id).cte("changed")
        await s.execute(select(changed.c.id))


@way
async def upserted(s: AsyncSession, n: int) -> None:
    from sqlalchemy.dialects import postgresql, sqlite

    kind = s.get_bind().dialect.name
    made: Any = postgresql.insert if kind == "postgresql" else sqlite.insert
    query = made(Tag).values(id=1, name=f"upserted {n}")
    name = query.excluded.name
    await s.execute(
        query.on_conflict_do_update(index_elements=["id"], set_={"name": name})
    )


@way
async def insert_from_select(s: AsyncSession, n: int) -> None:
    source = select(Tag.name).where(Tag.id == 1)
    await s.execute(insert(Tag).from_select(["name"], source))


@way
async def base_updated(s: AsyncSession, n: int) -> None:
    await s.execute(update(Employee).values(name=f"base {n}"))


@way
async def base_inserted(s: AsyncSession, n: int) -> None:
    await s.execute(insert(Employee), [{"name": f"new {n}", "kind": "manager"}])


@way
async def base_deleted(s: AsyncSession, n: int) -> None:
    kind = "manager" if n % 2 else "engineer"
    await s.execute(delete(Employee).where(Employee.kind == kind))


@way
async def slug_changed(s: AsyncSession, n: int) -> None:
    if author := await s.get(Author, "ann"):
        author.slug = f"anna{n}"


@way
async def slugs_updated(s: AsyncSession, n: int) -> None:
    await s.execute(update(Author).where(Author.slug == "ann").values(slug=f"anne{n}"))


@way
async def note_added(s: AsyncSession, n: int) -> None:
    s.add(Note(body=f"note {n}"))


@way
async def notes_deleted(s: AsyncSession, n: int) -> None:
    await s.execute(delete(Note))


@way
async def user_by_core(s: AsyncSession, n: int) -> None:
    connection = await s.connection()
    await connection.execute(update(User).values(first_name=f"Core{n}"))


@router.post("/write/{name}")
async def write(name: str, n: int, session: SessionDep) -> None:
    await WAYS[name](session, n)


@router.post("/write-later/{name}")
async def write_later(
    name: str, n: int, request: Request, tasks: BackgroundTasks
) -> None:
    database: Database = request.app.state.database

    async def later() -> None:
        async with database.session() as session:
            await WAYS[name](session, n)

    tasks.add_task(later)


@router.post("/restock")
async def restock(namespace: str, n: int) -> None:
    stock[namespace] = n
    await invalidate_namespace(namespace)
