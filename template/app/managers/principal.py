"""Who makes a request: found by the credentials, remembered by the cache.

A commit that changes what is remembered ends it: see `app/models/cache_rules.py`.
"""

import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import make_transient_to_detached

from app.cache import cached
from app.config import Settings
from app.database import Database
from app.database.base import utc_now
from app.errors import NotAuthenticated
from app.managers.scopes import effective_scopes, role_scopes
from app.managers.tokens import KeyText, cache_digest, key_hash
from app.models.api_key import ApiKey
from app.models.auth_session import AuthSession
from app.models.user import Role, User


@dataclass(frozen=True, slots=True)
class Principal:
    """A user, and what the credentials of this request allow. It holds no secret."""

    user_id: int
    email: str
    first_name: str
    last_name: str
    role: Role
    banned: bool
    created_at: datetime
    updated_at: datetime
    scopes: tuple[str, ...]
    key_id: int | None = None
    key_expires_at: datetime | None = None
    session_id: str | None = None

    def as_user(self) -> User:
        """The user as a row that no session holds, without the password's hash."""
        user = User(
            id=self.user_id,
            email=self.email,
            first_name=self.first_name,
            last_name=self.last_name,
            role=self.role,
            banned=self.banned,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )
        make_transient_to_detached(user)
        return user


def _session_in_cache(
    _func: Any, namespace: str, *, kwargs: dict[str, Any], **_: Any
) -> str:
    return f"{namespace}:{kwargs['user_id']}:session:{kwargs['session_id']}"


@cached(namespace="principal", key_builder=_session_in_cache)
async def load_session_principal(
    database: Database, *, user_id: int, session_id: str
) -> Principal:
    """Who holds this session; raises `NotAuthenticated` if it has ended."""
    query = (
        select(User)
        .join(AuthSession, AuthSession.user_id == User.id)
        .where(
            User.id == user_id,
            AuthSession.id == session_id,
            AuthSession.user_id == user_id,  # says to the cache whose it is
            AuthSession.expires_at > utc_now(),
        )
    )
    async with database.session(writes=False) as session:
        user = await session.scalar(query)
    if user is None:
        raise NotAuthenticated("This session has ended.")
    return principal_of(user, role_scopes(user.role), session_id=session_id)


def _key_in_cache(
    _func: Any, namespace: str, *, kwargs: dict[str, Any], **_: Any
) -> str:
    key: KeyText = kwargs["key"]
    digest = cache_digest(key, kwargs["settings"])
    return f"{namespace}:{key.user_id}:key:{key.prefix}:{digest}"


@cached(namespace="principal", key_builder=_key_in_cache)
async def load_key_principal(
    database: Database, *, key: KeyText, settings: Settings
) -> Principal:
    """Who holds this API key; raises `NotAuthenticated` if it is unknown or inactive.

    Time passes while an answer is remembered, so the caller checks the expiry.
    """
    query = (
        select(
            User,
            ApiKey.id,
            ApiKey.key_hash,
            ApiKey.scopes,
            ApiKey.active,
            ApiKey.expires_at,
        )
        .join(ApiKey, ApiKey.user_id == User.id)
        .where(
            User.id == key.user_id,
            ApiKey.prefix == key.prefix,
            ApiKey.user_id == key.user_id,  # says to the cache whose it is
        )
    )
    async with database.session(writes=False) as session:
        row = (await session.execute(query)).one_or_none()
    # Hash first, so that the time taken does not tell whether the prefix exists.
    presented = key_hash(key, settings)
    if row is None or not hmac.compare_digest(row.key_hash, presented):
        raise NotAuthenticated("This API key is not valid.")
    if not row.active:
        raise NotAuthenticated("This API key is not active.")
    user: User = row.User
    return principal_of(
        user,
        effective_scopes(row.scopes, user.role),
        key_id=row.id,
        key_expires_at=row.expires_at,
    )


def principal_of(
    user: User,
    scopes: tuple[str, ...],
    *,
    key_id: int | None = None,
    key_expires_at: datetime | None = None,
    session_id: str | None = None,
) -> Principal:
    """What a user may do with these scopes."""
    return Principal(
        user_id=user.id,
        email=user.email,
        first_name=user.first_name,
        last_name=user.last_name,
        role=user.role,
        banned=user.banned,
        created_at=user.created_at,
        updated_at=user.updated_at,
        scopes=scopes,
        key_id=key_id,
        key_expires_at=key_expires_at,
        session_id=session_id,
    )
