"""Whose response it is."""

from hashlib import blake2b

from fastapi import Request

from app.cache.engine import running
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
        scopes = ",".join(sorted(principal.scopes))
        return f"user-{principal.user_id}-{_digest(scopes)}"
    shown = [f"{name}={request.headers.get(name, '')}" for name in CREDENTIALS]
    if all(text.endswith("=") for text in shown):
        return "public"
    return f"credentials-{_digest(*shown)}"


def _digest(*texts: str) -> str:
    engine = running()
    digest = blake2b(key=engine.secret if engine else b"", digest_size=12)
    for text in texts:
        digest.update(len(text).to_bytes(8, "big") + text.encode("utf-8", "replace"))
    return digest.hexdigest()
