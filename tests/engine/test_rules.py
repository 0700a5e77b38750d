"""Which namespaces a row touches, and the rows that the database deletes with it."""

import pytest
from sqlalchemy import ForeignKey, inspect
from sqlalchemy.orm import DeclarativeBase, Mapped, Mapper, mapped_column

from app.cache import touches
from app.cache.engine import rules
from app.cache.engine.rules import cascaded, rules_of


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


@pytest.fixture(autouse=True)
def _rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "_rules", {})


def mapper_of(model: type[Base]) -> Mapper[Base]:
    return inspect(model)


def test_a_namespace_is_filled_with_the_rows_values() -> None:
    touches(Shop, "shop:{id}:page", "shops", "shop-{name}")
    found = {r.namespace({"id": 5, "name": "a:b"}) for r in rules_of(mapper_of(Shop))}
    assert found == {"shop:5:page", "shops", "shop-a%3Ab"}


def test_an_unknown_value_makes_the_namespace_wider() -> None:
    touches(Shop, "shop:{id}:page", "shop-{name}:x")
    found = {rule.namespace({}) for rule in rules_of(mapper_of(Shop))}
    assert found == {"shop", ""}


@pytest.mark.parametrize("unless_only", [(), ("color",)])
def test_a_column_that_does_not_exist_is_refused(unless_only: tuple[str, ...]) -> None:
    template = "shop:{id}" if unless_only else "shop:{color}"
    with pytest.raises(ValueError, match="Shop has no column color"):
        touches(Shop, template, unless_only=unless_only)


def test_a_deleted_row_touches_what_is_deleted_or_changed_with_it() -> None:
    touches(Shop, "shop:{id}")
    touches(Shelf, "shelves:{shop_id}", "shelf:{id}")
    touches(Product, "product:{id}")  # two steps away, so which ones is not known
    touches(Visit, "visits:{shop}")
    touches(Order, "orders:{shop_id}")  # the database refuses to delete its shop
    found = cascaded(mapper_of(Shop), {"id": 5})
    assert found == {"shelves:5", "shelves", "shelf", "product", "visits:5"}


def test_a_cascade_passes_through_models_without_rules() -> None:
    touches(Product, "product:{id}", "products")
    assert cascaded(mapper_of(Shop), {"id": 5}) == {"product", "products"}
    assert cascaded(mapper_of(Order), {"id": 5}) == set()
