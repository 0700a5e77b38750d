"""Scopes: what a credential may be used for.

To add one, write it at the end of `Scope`, and nowhere else; also in `ADMIN_SCOPES` if
only admins may have it. Sessions have it at once. API keys have it when they are given
it; one whose creator names no scopes has all that end in `:read`.
"""

from collections.abc import Iterable
from typing import Literal, get_args

from app.models.user import Role

# Yours go at the end: what an update adds comes before "users:write".
Scope = Literal[
    "profile:read",
    "profile:write",
    "keys:read",
    "keys:write",
    "users:read",
    "users:write",
]

ALL_SCOPES: tuple[Scope, ...] = get_args(Scope)
ADMIN_SCOPES: frozenset[str] = frozenset({"users:read", "users:write"})


def role_scopes(role: Role) -> tuple[Scope, ...]:
    """Every scope that a user of this role can have."""
    return tuple(
        scope for scope in ALL_SCOPES if role is Role.admin or scope not in ADMIN_SCOPES
    )


def read_scopes(role: Role) -> tuple[Scope, ...]:
    """What an API key gets when its creator names no scopes."""
    return tuple(scope for scope in role_scopes(role) if scope.endswith(":read"))


def effective_scopes(granted: Iterable[str], role: Role) -> tuple[str, ...]:
    """What is left of a key's scopes for its user's role of today."""
    granted = frozenset(granted)
    return tuple(scope for scope in role_scopes(role) if scope in granted)
