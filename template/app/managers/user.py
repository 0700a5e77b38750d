"""The rules of users, for routes and commands alike."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, String, cast, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.config import Settings, get_settings
from app.errors import Conflict, Forbidden, Invalid, NotFound
from app.logs import AUTH
from app.managers.auth import Principal, require_scopes
from app.managers.auth_session import AuthSessionManager
from app.managers.passwords import hash_password, require_good_password, verify_password
from app.managers.scopes import role_scopes
from app.models.api_key import ApiKey
from app.models.user import Role, User
from app.schemas.auth import Registration
from app.schemas.user import SearchField, UserUpdate


class UserManager:
    """Reads and changes users. `settings` default to the process's own.

    Nothing is committed here: the session's owner does that.
    """

    def __init__(self, session: AsyncSession, settings: Settings | None = None) -> None:
        self.session = session
        self.settings = settings or get_settings()

    async def create(self, data: Registration, *, role: Role = Role.user) -> User:
        """Add a user.

        Raises `Conflict` if the e-mail address is taken, and `Invalid` for a password
        that is too short or too easy to guess.
        """
        user = User(
            email=data.email,
            first_name=data.first_name,
            last_name=data.last_name,
            password_hash=await self._hash(data.password, data.email),
            role=role,
        )
        self.session.add(user)
        await self._flush(user)
        AUTH.info("user %s is new, as %s", user.id, role)
        return user

    async def get(self, user_id: int) -> User:
        """The user; raises `NotFound`."""
        return _found(await self.session.get(User, user_id))

    async def get_by_email(self, email: str) -> User:
        """The user with this address, in any case; raises `NotFound`."""
        return _found(
            await self.session.scalar(select(User).where(User.email == email.lower()))
        )

    async def list(self, page: int = 1, size: int = 50) -> tuple[Sequence[User], int]:
        """A page of all users, oldest first, and how many there are in all."""
        return await self._page(None, page, size)

    async def search(
        self, field: SearchField, term: str, page: int = 1, size: int = 50
    ) -> tuple[Sequence[User], int]:
        """A page of the users whose field contains the term, in any case."""
        column = cast(getattr(User, field), String)
        return await self._page(column.icontains(term, autoescape=True), page, size)

    async def update(self, user_id: int, data: UserUpdate) -> User:
        """Change names and address; raises `NotFound`, `Conflict` (address taken)."""
        user = await self._lock(user_id)
        user.email = data.email
        user.first_name = data.first_name
        user.last_name = data.last_name
        await self._flush(user)
        return user

    async def set_password(
        self,
        user_id: int,
        password: str,
        *,
        by: Principal | None = None,
        revoke_api_keys: bool = False,
    ) -> None:
        """Give a user a new password and log them out everywhere.

        Who sets a password can log in with it: `by`, who asks, needs every scope of
        the user's role, else `Forbidden`. A command, which has no such bound, leaves
        it out. `revoke_api_keys` deletes the user's API keys, too. Raises `NotFound`,
        and `Invalid` for a password that is too short or too easy to guess.
        """
        password_hash = await self._hash(password)
        user = await self._lock(user_id)
        if by is not None:
            require_scopes(by, *role_scopes(user.role))
        require_good_password(password, self.settings, email=user.email)
        await self._store_password(user, password_hash)
        if revoke_api_keys:
            await self._revoke_api_keys(user_id)

    async def change_password(
        self,
        user_id: int,
        current_password: str | None,
        password: str,
        *,
        keep: str | None = None,
        revoke_api_keys: bool = False,
    ) -> None:
        """Like `set_password`, for who knows the current one; else `Invalid`.

        `keep` is the id of the session that goes on: that of who asks.
        """
        if current_password is None:
            raise Invalid(
                "Send your current_password too.", code="current_password_needed"
            )
        stored = await self.session.scalar(
            select(User.password_hash).where(User.id == user_id)
        )
        # Hashing takes its time: hold no connection and no lock meanwhile.
        await self.session.rollback()
        valid, _ = await verify_password(current_password, stored)
        if not valid:
            raise _wrong_password()
        password_hash = await self._hash(password)
        user = await self._lock(user_id)
        unchanged = select(User.id).where(
            User.id == user_id, User.password_hash == stored
        )
        if await self.session.scalar(unchanged) is None:
            raise _wrong_password()
        require_good_password(password, self.settings, email=user.email)
        await self._store_password(user, password_hash, keep)
        if revoke_api_keys:
            await self._revoke_api_keys(user_id)

    async def ban(self, user_id: int, *, by: int | None = None) -> User:
        """Shut a user out and end their sessions. `by` is the id of who asks.

        Raises `NotFound`, `Conflict` for oneself and for the last admin, and
        `Forbidden` if who asks is no admin any more.
        """
        _require_another(user_id, by)
        user = await self._lock_to_remove(user_id, by)
        user.banned = True
        await self.session.flush()
        await AuthSessionManager(self.session, self.settings).end_all(user_id)
        AUTH.info("user %s is banned", user_id)
        return user

    async def unban(self, user_id: int) -> User:
        """Let a banned user in again; raises `NotFound`."""
        user = await self._lock(user_id)
        user.banned = False
        await self.session.flush()
        AUTH.info("user %s is not banned any more", user_id)
        return user

    async def make_admin(self, user_id: int) -> User:
        """Give a user the admin role; raises `NotFound`."""
        user = await self._lock(user_id)
        user.role = Role.admin
        await self.session.flush()
        AUTH.info("user %s is an admin now", user_id)
        return user

    async def demote(self, user_id: int, *, by: int | None = None) -> User:
        """Take the admin role away, also one's own. `by` is the id of who asks.

        API keys keep the scopes that the role of a user has. Raises `NotFound`,
        `Conflict` for the last admin, and `Forbidden` if who asks is no admin any more.
        """
        user = await self._lock_to_remove(user_id, by)
        user.role = Role.user
        await self.session.flush()
        AUTH.info("user %s is no admin any more", user_id)
        return user

    async def delete(self, user_id: int, *, by: int | None = None) -> None:
        """Delete a user with all sessions and API keys; raises as `ban` does."""
        _require_another(user_id, by)
        await self.session.delete(await self._lock_to_remove(user_id, by))
        await self.session.flush()
        AUTH.info("user %s is deleted", user_id)

    async def _page(
        self, condition: ColumnElement[bool] | None, page: int, size: int
    ) -> tuple[Sequence[User], int]:
        users = select(User).order_by(User.id).limit(size).offset((page - 1) * size)
        count = select(func.count()).select_from(User)
        if condition is not None:
            users, count = users.where(condition), count.where(condition)
        total = await self.session.scalar(count) or 0
        return (await self.session.scalars(users)).all(), total

    async def _lock(self, user_id: int) -> User:
        return _found(
            await self.session.get(
                User, user_id, with_for_update=True, populate_existing=True
            )
        )

    async def _lock_to_remove(self, user_id: int, by: int | None) -> User:
        """Lock all admins, always in one order, then the user.

        Of two admins who remove each other at the same time the second has to wait, and
        then is none any more.
        """
        query = (
            select(User.id)
            .where(User.role == Role.admin, User.banned.is_(False))
            .order_by(User.id)
            .with_for_update()
        )
        admins = (await self.session.scalars(query)).all()
        if by is not None and by not in admins:
            raise Forbidden("Only an admin may do this.", code="admin_only")
        user = await self._lock(user_id)
        if admins == [user_id]:
            raise Conflict("This is the last admin.", code="last_admin")
        return user

    async def _hash(self, password: str, email: str = "") -> str:
        require_good_password(password, self.settings, email=email)
        return await hash_password(password)

    async def _store_password(
        self, user: User, password_hash: str, keep: str | None = None
    ) -> None:
        user.password_hash = password_hash
        await self._flush(user)
        sessions = AuthSessionManager(self.session, self.settings)
        await sessions.end_all(user.id, keep=keep)
        AUTH.info("user %s has a new password", user.id)

    async def _revoke_api_keys(self, user_id: int) -> None:
        await self.session.execute(delete(ApiKey).where(ApiKey.user_id == user_id))
        AUTH.info("all API keys of user %s are deleted", user_id)

    async def _flush(self, user: User) -> None:
        try:
            await self.session.flush()
        except IntegrityError:
            raise Conflict(
                "This e-mail address is taken.", code="email_taken"
            ) from None
        # A user that is returned as it is must not carry the hash along.
        self.session.expire(user, ["password_hash"])


def _require_another(user_id: int, by: int | None) -> None:
    if user_id == by:
        raise Conflict("You cannot ban or delete yourself.", code="own_account")


def _found(user: User | None) -> User:
    if user is None:
        raise NotFound("There is no such user.", code="user_not_found")
    return user


def _wrong_password() -> Invalid:
    return Invalid("The current password is wrong.", code="wrong_password")
