"""Whose response it is."""

from fastapi import Request

from app.cache.digest import digest
from app.cache.http import CREDENTIALS


def identity_of(request: Request | None) -> str:
    """Return who asks, as a segment of a key.

    The principal that the route's dependencies resolved; where they resolved none but
    the request carries credentials, a keyed digest of those; else "public".
    """
    if request is None:
        return "public"
    principal = getattr(request.state, "principal", None)
    if principal is not None:
        return f"user-{principal.user_id}-{digest(sorted(principal.scopes))}"
    shown = [request.headers.getlist(name) for name in CREDENTIALS]
    return f"credentials-{digest(shown)}" if any(shown) else "public"
