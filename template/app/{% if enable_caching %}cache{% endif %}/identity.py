"""Whose response it is."""

from typing import Any

from fastapi import Request

from app.cache.digest import digest
from app.cache.exchange import headers_of
from app.cache.http import CREDENTIALS


def identity_of(request: Request | None) -> str:
    """Return who asks, as a segment of a key.

    The principal that the route's dependencies resolved; where they resolved none but
    the request carries credentials, a keyed digest of those; else "public".
    """
    if request is None:
        return "public"
    principal = principal_of(request)
    if principal is not None:
        return f"user-{principal.user_id}-{digest(sorted(principal.scopes))}"
    headers = headers_of(request)
    shown = [headers.getlist(name) for name in CREDENTIALS]
    return f"credentials-{digest(shown)}" if any(shown) else "public"


def principal_of(request: Request) -> Any:
    """Return `request.state.principal`, None when nobody has set it."""
    return request.scope.get("state", {}).get("principal")
