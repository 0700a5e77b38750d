"""The rules of API keys, for routes and commands alike."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.config import Settings, get_settings
from app.errors import Conflict, Forbidden, NotFound
from app.logs import AUTH
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
