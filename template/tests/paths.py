"""Paths of routes, of the template's and of yours, with values in their braces."""

import re
from collections.abc import Mapping

from fastapi import FastAPI


def filled(path: str, values: Mapping[str, object], other: object) -> str:
    """Put values where the braces are, and `other` where a parameter has none."""
    return re.sub(
        r"\{(\w+)(:\w+)?\}", lambda found: str(values.get(found[1], other)), path
    )


def match_first(app: FastAPI, added: int = 1) -> None:
    """Have the routes that were added last match before one of yours that takes all."""
    routes = app.router.routes
    routes[:] = routes[-added:] + routes[:-added]
