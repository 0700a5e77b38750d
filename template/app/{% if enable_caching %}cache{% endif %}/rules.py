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
    attributes is ignored. Raises ValueError for an attribute that the model does not
    have.
    """
    for namespace in namespaces:
        add_rule(model, namespace, unless_only)
