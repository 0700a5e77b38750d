"""Which route answered a request."""

from typing import Any

from starlette.types import Scope


def route_path(scope: Scope) -> str | None:
    """Return the route's path as it was declared, with the prefixes of its routers.

    And with those of mounts. None before a route was found, or where there is none.
    """
    # FastAPI keeps here what a router's prefixes make of its routes.
    included: Any = scope.get("fastapi", {}).get("effective_route_context")
    route: Any = included or scope.get("route")
    path = getattr(route, "path_format", None) or getattr(route, "path", None)
    if not path:
        return None
    root: str = scope.get("root_path", "")
    return root.removeprefix(scope.get("app_root_path", root)) + str(path)
