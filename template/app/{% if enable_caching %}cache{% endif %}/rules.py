"""Which namespaces a change of which model touches."""

from collections.abc import Collection
from typing import Any

from app.cache.engine.rules import add_rule


def touches(
    model: type[Any], *namespaces: str, unless_only: Collection[str] = ()
) -> None:
    """State that a change of a row of `model` invalidates the namespaces.

    A namespace may name attributes of the row, as in "user:{id}"; both the old and the
    new values count, each as `segment` writes it. A change of nothing but `unless_only`
    attributes is ignored.

    Without a rule nothing becomes stale, as each entry depends on the tables that it
    was made from. A rule makes invalidation finer: where a query fixes what the rule
    names, as in `where(Product.id == product_id)` for "products:{id}", the change of
    another row leaves its entry alone.

    Raises ValueError for an attribute that the model does not have, and for no
    namespace. One that no cached function has stops the start.
    """
    if not namespaces:
        raise ValueError(f"touches({model.__name__}) names no namespace")
    for namespace in namespaces:
        add_rule(model, namespace, unless_only)
