"""Logging in, staying logged in and logging out."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.config import Settings, get_settings
from app.database.base import utc_now
from app.errors import Forbidden, NotAuthenticated, NotFound
from app.logs import AUTH
from app.managers.passwords import verify_password
from app.managers.principal import Principal
from app.managers.tokens import issue_tokens, read_token
from app.models.auth_session import AuthSession
from app.models.user import User
from app.schemas.auth import TokenPair


class AuthSessionManager:
    """The rules of sessions. `settings` default to the process's own."""

    def __init__(self, session: AsyncSession, settings: Settings | None = None) -> None:
        self.session = session
        self.settings = settings or get_settings()

    async def start(self, user_id: int) -> TokenPair:
        """Open a session for a user whose identity is proven."""
        now = utc_now()
        auth_session = AuthSession(
            id=uuid4().hex,
            user_id=user_id,
            refresh_jti=uuid4().hex,
            expires_at=now + timedelta(seconds=self.settings.refresh_token_ttl),
        )
        self.session.add(auth_session)
        # Nobody will log out of sessions that ran out: clear them away here.
        await self.session.execute(
            delete(AuthSession).where(
                AuthSession.user_id == user_id, AuthSession.expires_at <= now
            )
        )
        await self.session.flush()
        return issue_tokens(auth_session, self.settings)

    async def login(self, email: str, password: str) -> TokenPair:
        """Check the password and open a session.

        Raises `NotAuthenticated`, in the same words and time whether the user is
        unknown or the password wrong, and `Forbidden` for a banned user.
        """
        query = select(User.id, User.password_hash).where(User.email == email)
        found = (await self.session.execute(query)).one_or_none()
        # Hashing takes its time: hold no connection and no lock meanwhile.
        await self.session.rollback()
        stored = found.password_hash if found else None
        valid, renewed = await verify_password(password, stored)
        if not valid or found is None:
            AUTH.info("login refused: wrong e-mail address or password")
            raise _wrong_credentials()

        # The password was checked against what may be gone by now.
        user = await self.session.scalar(
            select(User)
            .where(User.id == found.id, User.password_hash == stored)
            .with_for_update()
        )
        if user is None:
            raise _wrong_credentials()
        if user.banned:
            AUTH.info("login refused: user %s is banned", user.id)
            raise Forbidden("This user is banned.", code="banned")
        if renewed is not None:
            await self.session.execute(
                update(User)
                .where(User.id == user.id)
                .values(password_hash=renewed, updated_at=User.updated_at)
                .execution_options(synchronize_session=False)
            )
        AUTH.info("user %s logs in", user.id)
        return await self.start(user.id)

    async def refresh(self, token: str) -> TokenPair:
        """Trade a refresh token for the next pair. It works once.

        A token that comes a second time was stolen, by then or now: its session ends,
        for both who hold it (RFC 9700 4.14.2).
        """
        claims = read_token(token, "refresh", self.settings)
        now = utc_now()
        own = (AuthSession.id == claims.session_id) & (
            AuthSession.user_id == claims.user_id
        )
        # One statement, so that of requests at the same time one finds the token.
        auth_session = await self.session.scalar(
            update(AuthSession)
            .where(
                own,
                AuthSession.refresh_jti == claims.token_id,
                AuthSession.expires_at > now,
            )
            .values(
                refresh_jti=uuid4().hex,
                expires_at=now + timedelta(seconds=self.settings.refresh_token_ttl),
            )
            .returning(AuthSession)
            .execution_options(populate_existing=True)
        )
        if auth_session is None:
            AUTH.warning("a refresh token of user %s came again", claims.user_id)
            await self.session.execute(delete(AuthSession).where(own))
            # The answer is an error, which rolls back: this must outlive it.
            await self.session.commit()
            raise NotAuthenticated("This refresh token does not work any more.")
        return issue_tokens(auth_session, self.settings)

    async def end(self, principal: Principal) -> None:
        """Log out: the session's tokens stop working with the commit.

        Raises `Forbidden` for an API key, which has no session.
        """
        if principal.session_id is None:
            raise Forbidden(
                "An API key cannot log out; delete it instead.", code="no_session"
            )
        AUTH.info("user %s logs out", principal.user_id)
        await self.session.execute(
            delete(AuthSession).where(
                AuthSession.id == principal.session_id,
                AuthSession.user_id == principal.user_id,
            )
        )

    async def list(self, user_id: int) -> Sequence[AuthSession]:
        """The sessions of a user that have not ended, oldest first."""
        query = (
            select(AuthSession)
            .where(AuthSession.user_id == user_id, AuthSession.expires_at > utc_now())
            .order_by(AuthSession.created_at, AuthSession.id)
        )
        return (await self.session.scalars(query)).all()

    async def end_one(self, user_id: int, session_id: str) -> None:
        """Log a user out of one session; raises `NotFound`, also for another user's."""
        ended = await self.session.scalar(
            delete(AuthSession)
            .where(AuthSession.id == session_id, AuthSession.user_id == user_id)
            .returning(AuthSession.id)
        )
        if ended is None:
            raise NotFound("There is no such session.", code="session_not_found")
        AUTH.info("user %s ends a session", user_id)

    async def end_all(self, user_id: int, *, keep: str | None = None) -> None:
        """Log a user out everywhere, but of the session whose id is `keep`."""
        statement = delete(AuthSession).where(AuthSession.user_id == user_id)
        if keep is not None:
            statement = statement.where(AuthSession.id != keep)
        await self.session.execute(statement)


def _wrong_credentials() -> NotAuthenticated:
    return NotAuthenticated(
        "The e-mail address or the password is wrong.", code="invalid_credentials"
    )
