"""The rules of API keys, for routes and commands alike, and when a key was last used.

That is noted in memory and written once a minute: a request with a key must not cost a
write, and one that the cache answers no query.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime

from fastapi import FastAPI
from sqlalchemy import func, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.config import Settings, get_settings
from app.database import Database
from app.errors import Conflict, Forbidden, NotFound, reason
from app.logs import AUTH, DATABASE
from app.managers.principal import Principal
from app.managers.scopes import read_scopes, role_scopes
from app.managers.tokens import key_hash, new_key_text
from app.models.api_key import ApiKey
from app.models.user import User
from app.schemas.api_key import ApiKeyCreate, ApiKeyUpdate

MAX_KEYS = 100
"""How many keys one user may have."""


class ApiKeyManager:
    """Reads and changes the API keys of a user.

    `by` is who asks, and bounds what a key may do; a command, which has no such bound,
    leaves it out. Nothing is committed here: the session's owner does that.
    """

    def __init__(self, session: AsyncSession, settings: Settings | None = None) -> None:
        self.session = session
        self.settings = settings or get_settings()

    async def create(
        self, user_id: int, data: ApiKeyCreate, *, by: Principal | None = None
    ) -> tuple[ApiKey, str]:
        """Add a key; returns it with its text, which nothing can show again.

        Raises `NotFound` (no such user), `Forbidden` (scopes or expiry beyond those of
        the user or of who asks) and `Conflict` (too many keys).
        """
        user = await self._user(user_id, lock=True)
        count = select(func.count()).where(ApiKey.user_id == user_id)
        if (await self.session.scalar(count) or 0) >= MAX_KEYS:
            raise Conflict(
                f"A user has at most {MAX_KEYS} API keys.", code="too_many_keys"
            )
        key = new_key_text(user_id)
        api_key = ApiKey(
            user_id=user_id,
            name=data.name,
            prefix=key.prefix,
            key_hash=key_hash(key, self.settings),
            scopes=_granted(data.scopes, user, by),
            active=True,
            expires_at=_expiry(data.expires_at, by),
            last_used_at=None,
        )
        self.session.add(api_key)
        await self.session.flush()
        # A key that is returned as it is must not carry the hash along.
        self.session.expire(api_key, ["key_hash"])
        AUTH.info("user %s has a new API key, %s", user_id, key.prefix)
        return api_key, key.text

    async def list(self, user_id: int) -> Sequence[ApiKey]:
        """All keys of a user, oldest first; raises `NotFound` (no such user)."""
        await self._user(user_id)
        return (
            await self.session.scalars(
                select(ApiKey).where(ApiKey.user_id == user_id).order_by(ApiKey.id)
            )
        ).all()

    async def get(self, user_id: int, key_id: int) -> ApiKey:
        """The user's key; raises `NotFound`, also for another user's key."""
        return await self._get(user_id, key_id)

    async def update(
        self,
        user_id: int,
        key_id: int,
        data: ApiKeyUpdate,
        *,
        by: Principal | None = None,
    ) -> ApiKey:
        """Change what `data` sets; raises `NotFound`, and `Forbidden` as `create`."""
        user = await self._user(user_id, lock=True)
        api_key = await self._get(user_id, key_id, lock=True)
        changes = data.model_dump(exclude_unset=True)
        if "scopes" in changes:
            changes["scopes"] = _granted(data.scopes, user, by)
        elif changes.get("active") or "expires_at" in changes:
            # To revive a key or to let it live longer is to hand out its scopes.
            _check_grant(api_key.scopes, by)
        if "expires_at" in changes:
            changes["expires_at"] = _expiry(data.expires_at, by)
        for name, value in changes.items():
            setattr(api_key, name, value)
        await self.session.flush()
        AUTH.info("API key %s of user %s is changed", api_key.prefix, user_id)
        return api_key

    async def delete(self, user_id: int, key_id: int) -> None:
        """Revoke a key for good; raises `NotFound`."""
        api_key = await self._get(user_id, key_id, lock=True)
        await self.session.delete(api_key)
        await self.session.flush()
        AUTH.info("API key %s of user %s is deleted", api_key.prefix, user_id)

    async def _user(self, user_id: int, *, lock: bool = False) -> User:
        user = await self.session.get(
            User, user_id, with_for_update=lock or None, populate_existing=lock
        )
        if user is None:
            raise NotFound("There is no such user.", code="user_not_found")
        return user

    async def _get(self, user_id: int, key_id: int, *, lock: bool = False) -> ApiKey:
        query = select(ApiKey).where(ApiKey.id == key_id, ApiKey.user_id == user_id)
        api_key = await self.session.scalar(query.with_for_update() if lock else query)
        if api_key is None:
            raise NotFound("There is no such API key.", code="api_key_not_found")
        return api_key


def _granted(
    wanted: Sequence[str] | None, user: User, by: Principal | None
) -> list[str]:
    """The scopes to give: never more than the user's role has, nor who asks."""
    allowed = role_scopes(user.role)
    if wanted is None:
        readable = read_scopes(user.role)
        return [scope for scope in readable if by is None or scope in by.scopes]
    beyond = [scope for scope in wanted if scope not in allowed]
    if beyond:
        raise Forbidden(
            f"The role {user.role} does not have: {', '.join(beyond)}.",
            code="scope_not_allowed",
        )
    _check_grant(wanted, by)
    return [scope for scope in allowed if scope in wanted]


def _check_grant(scopes: Iterable[str], by: Principal | None) -> None:
    beyond = [scope for scope in scopes if by is not None and scope not in by.scopes]
    if beyond:
        raise Forbidden(
            f"Your credentials cannot hand out: {', '.join(beyond)}.",
            code="scope_not_allowed",
        )


def _expiry(wanted: datetime | None, by: Principal | None) -> datetime | None:
    """A key that a key makes does not outlive it."""
    limit = by.key_expires_at if by is not None else None
    if limit is not None and wanted is not None and wanted > limit:
        raise Forbidden(
            f"Your API key expires at {limit.isoformat()}, so this one cannot later.",
            code="expiry_not_allowed",
        )
    return wanted or limit


# When they were last used

INTERVAL = 60.0
"""Seconds between two writes."""

LIMIT = 10_000
"""How many keys are noted between two writes; more are left out."""


class LastUse:
    """The uses that are not written yet, by user and key."""

    def __init__(self) -> None:
        self._noted: dict[tuple[int, int], datetime] = {}

    def note(self, user_id: int, key_id: int, moment: datetime) -> None:
        """Remember a use of a user's key."""
        if (user_id, key_id) in self._noted or len(self._noted) < LIMIT:
            self._noted[user_id, key_id] = moment

    async def flush(self, database: Database) -> None:
        """Write what is noted; what fails to be written stays noted."""
        noted, self._noted = self._noted, {}
        try:
            while noted:
                key = next(iter(noted))
                await _write(database, *key, noted[key])
                del noted[key]
        except (SQLAlchemyError, OSError) as error:
            DATABASE.warning("last uses of API keys not written: %s", reason(error))
        finally:
            self._noted = noted | self._noted


@asynccontextmanager
async def last_use_recorder(app: FastAPI) -> AsyncIterator[None]:
    """Write the uses of API keys while the application runs, and when it ends."""
    last_use: LastUse = app.state.last_use
    database: Database = app.state.database
    task = asyncio.create_task(_flush_for_ever(last_use, database))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await last_use.flush(database)


async def _write(
    database: Database, user_id: int, key_id: int, moment: datetime
) -> None:
    """In a transaction of its own, which can neither hold up nor deadlock another."""
    # Another process may have written a later use.
    earlier = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < moment)
    async with database.session() as session:
        await session.execute(
            update(ApiKey)
            # The user, too: so the cache knows whose keys this is about.
            .where(ApiKey.id == key_id, ApiKey.user_id == user_id, earlier)
            .values(last_used_at=moment)
            .execution_options(synchronize_session=False)
        )


async def _flush_for_ever(last_use: LastUse, database: Database) -> None:
    while True:
        await asyncio.sleep(INTERVAL)
        await last_use.flush(database)
