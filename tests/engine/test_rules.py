"""Which namespaces a row touches, and the rows that the database deletes with it."""

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import ForeignKey, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.cache import touches
from app.cache.engine import rules, start
from app.cache.engine.entry import ConfigurationError
from app.cache.engine.policy import CachePolicy
from app.cache.engine.rules import UNKNOWN, Change, Tables


class Base(DeclarativeBase):
    pass


class Shop(Base):
    __tablename__ = "shops"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Shelf(Base):
    __tablename__ = "shelves"
    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id", ondelete="CASCADE"))
    below_id: Mapped[int | None] = mapped_column(
        ForeignKey("shelves.id", ondelete="CASCADE")
    )


class Product(Base):
    __tablename__ = "products"
    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int] = mapped_column(ForeignKey("shelves.id", ondelete="CASCADE"))


class Visit(Base):
    __tablename__ = "visits"
    id: Mapped[int] = mapped_column(primary_key=True)
    shop: Mapped[int | None] = mapped_column(
        "shop_number", ForeignKey("shops.id", ondelete="SET NULL")
    )


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"))


class Brand(Base):
    __tablename__ = "brands"
    name: Mapped[str] = mapped_column(primary_key=True)
    country: Mapped[str]


class Article(Base):
    __tablename__ = "articles"
    id: Mapped[int] = mapped_column(primary_key=True)
    brand: Mapped[str] = mapped_column(ForeignKey("brands.name", onupdate="CASCADE"))


class Vehicle(Base):
    __tablename__ = "vehicles"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}  # noqa: RUF012


class Truck(Vehicle):
    __tablename__ = "trucks"
    id: Mapped[int] = mapped_column(ForeignKey("vehicles.id"), primary_key=True)
    __mapper_args__ = {"polymorphic_identity": "truck"}  # noqa: RUF012


@pytest.fixture(autouse=True)
def _rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "rules", {})


def table_of(model: type[Base]) -> Table:
    return Base.metadata.tables[model.__tablename__]


def touched_by(model: type[Base], row: Mapping[str, object], **more: Any) -> set[str]:
    """Return what a change touches, without the tables' own namespaces."""
    found = Tables(Base.metadata).touched(Change(table_of(model), row, **more))
    return {name for name in found if not name.startswith("table=")}


def test_a_namespace_is_filled_with_the_rows_values() -> None:
    touches(Shop, "shop:{id}:page", "shops", "shop-{name}")
    found = touched_by(Shop, {"id": 5, "name": "a:b"})
    assert found == {"shop:5:page", "shops", "shop-a%3Ab"}


def test_an_unknown_value_makes_the_namespace_wider() -> None:
    touches(Shop, "shop:{id}:page", "shop-{name}:x")
    assert touched_by(Shop, {}) == {"shop", ""}
    assert touched_by(Shop, {"id": UNKNOWN, "name": "a"}) == {"shop", "shop-a:x"}


def test_a_row_that_belongs_to_nothing_is_in_no_namespace_of_its_own() -> None:
    touches(Visit, "visits:{shop}", "visits:all")
    assert touched_by(Visit, {"shop_number": None}) == {"visits:all"}


def test_an_update_counts_before_and_after() -> None:
    touches(Order, "orders:{shop_id}")
    assert touched_by(Order, {"id": 1}, sets={"shop_id": 6}) == {"orders", "orders:6"}
    row = {"id": 1, "shop_id": 5}
    assert touched_by(Order, row, sets={"shop_id": 6}) == {"orders:5", "orders:6"}
    assert touched_by(Order, row, sets={"shop_id": UNKNOWN}) == {"orders:5", "orders"}
    assert touched_by(Order, row, sets=None) == {"orders"}


def test_every_change_of_a_table_touches_the_namespace_of_the_table() -> None:
    found = Tables(Base.metadata).touched(Change(table_of(Shop), {}, deletes=True))
    assert found == {"table=shops", "table=shelves", "table=products", "table=visits"}


def test_a_rule_of_a_subclass_is_no_rule_for_all_rows_of_its_table() -> None:
    touches(Truck, "trucks")
    touches(Vehicle, "vehicles:{id}")
    tables = Tables(Base.metadata)
    assert tables.reached(table_of(Vehicle), {"id": 1}) == {"vehicles:1"}
    assert tables.reached(table_of(Vehicle), {}) == frozenset()
    assert tables.reached(table_of(Truck), {}) == {"trucks"}
    assert touched_by(Vehicle, {"id": 1}) == {"vehicles:1", "trucks"}


@pytest.mark.parametrize("unless_only", [(), ("color",)])
def test_a_column_that_does_not_exist_is_refused(unless_only: tuple[str, ...]) -> None:
    template = "shop:{id}" if unless_only else "shop:{color}"
    with pytest.raises(ValueError, match="Shop has no column color"):
        touches(Shop, template, unless_only=unless_only)


def test_a_deleted_row_touches_what_is_deleted_or_changed_with_it() -> None:
    touches(Shop, "shop:{id}")
    touches(Shelf, "shelves:{shop_id}", "shelf:{id}")
    touches(Product, "product:{id}")  # two steps away
    touches(Visit, "visits:{shop}")
    touches(Order, "orders:{shop_id}")  # the database refuses to delete its shop
    found = touched_by(Shop, {"id": 5}, deletes=True)
    assert found == {"shop:5", "shelves", "shelf", "product", "visits"}


def test_a_cascade_passes_through_models_without_rules() -> None:
    touches(Product, "product:{id}", "products")
    assert touched_by(Shop, {"id": 5}, deletes=True) == {"product", "products"}
    assert touched_by(Order, {"id": 5}, deletes=True) == set()


def test_a_changed_key_changes_those_who_refer_to_it() -> None:
    touches(Article, "articles:{brand}")
    row = {"name": "a"}
    assert touched_by(Brand, row, sets={"name": "b"}) == {"articles"}
    assert touched_by(Brand, row, sets={"country": "c"}) == set()
    assert touched_by(Brand, row) == set()  # a new row changes no other one


def test_a_rule_for_a_namespace_that_nothing_has_stops_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only: set[CachePolicy] = set()
    monkeypatch.setattr(start, "policies", only)
    monkeypatch.setattr(start, "rules", rules.rules)
    touches(Shop, "shop:{id}")
    start.check_rules()  # where nothing is cached, nothing can be stale

    async def shops() -> None: ...

    only.add(CachePolicy(shops, None, "shops:all", shops, None))
    with pytest.raises(ConfigurationError, match=r"The nearest is 'shops:all'\."):
        start.check_rules()
    only.add(CachePolicy(shops, None, "shop", shops, None))
    start.check_rules()


@pytest.mark.parametrize(
    ("namespace", "rule", "met"),
    [
        ("shop:{number}", "shop:{id}", True),
        ("shop:{number}", "shop:list", True),  # of a shop whose number is "list"
        ("shop:{number}:page", "shop", True),
        ("shop:{number}:page", "shop:{id}:page:more", True),
        ("shop:{number}:page", "shop:{id}:pages", False),
        ("shop:list", "shop:lists", False),
        ("{number}:page", "shop:{id}", True),
        ("{number}:page", "shop:pages", False),
    ],
)
def test_a_rule_meets_a_namespace_that_names_parameters(
    monkeypatch: pytest.MonkeyPatch, namespace: str, rule: str, met: bool
) -> None:
    async def read(number: str) -> None: ...

    policy = CachePolicy(read, None, namespace, read, None)
    monkeypatch.setattr(start, "policies", {policy})
    monkeypatch.setattr(start, "rules", rules.rules)
    touches(Shop, rule)
    if met:
        start.check_rules()
        return
    with pytest.raises(ConfigurationError, match="no @cached has such a namespace"):
        start.check_rules()


def test_a_rule_names_at_least_one_namespace() -> None:
    with pytest.raises(ValueError, match=r"touches\(Shop\) names no namespace"):
        touches(Shop)
