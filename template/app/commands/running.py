"""What a command works on: the settings, the database, a session, a user."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from app.commands.refusals import Refused

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from app.config import Settings
    from app.managers.user import UserManager
    from app.models import User

Result = TypeVar("Result")


@contextmanager
def ready_database(settings: Settings) -> Iterator[None]:
    """Have the database there and migrated.

    An embedded database and a development server are brought up to date here; any other
    one that is behind stops the command, because migrating it is a decision.
    """
    from app.database import migrate
    from app.database.local import prepare_local_database

    with prepare_local_database(settings):
        if migrate.is_behind(settings):
            migrate.require_one_head()
            if not _is_local(settings):
                raise Refused(
                    "The database is behind on migrations: run: api-admin db upgrade"
                )
            migrate.upgrade(settings)
        yield


def settings_for_people() -> Settings:
    """Return the settings for an application whose log a person reads: it is text."""
    from app.config import get_settings

    return get_settings().model_copy(update={"log_format": "text"})


def in_session(work: Callable[[AsyncSession], Awaitable[Result]]) -> Result:
    """Run `work` in one transaction on the service's database and return its result.

    The transaction is committed when `work` returns, rolled back when it raises. The
    commit invalidates what it changed in the cache of a service that is running.
    """
    from app.config import get_settings
    from app.database import Database

    settings = get_settings()
    database = Database(settings)

    async def run() -> Result:
        try:
            async with database.session() as session:
                return await work(session)
        finally:
            await database.dispose()

    with ready_database(settings):
        return asyncio.run(run())


def _is_local(settings: Settings) -> bool:
    from sqlalchemy import make_url

    url = make_url(settings.database_url)
    return url.get_backend_name() == "sqlite" or (
        settings.environment == "development"
        and url.host in {"localhost", "127.0.0.1", "::1"}
    )


async def find_user(session: AsyncSession, who: str) -> User:
    """The user with this id or e-mail address."""
    from app.errors import NotFound
    from app.managers.user import UserManager

    users = UserManager(session)
    try:
        if (user_id := row_id(who)) is not None:
            return await users.get(user_id)
        return await users.get_by_email(who)
    except NotFound:
        raise Refused(f"There is no user {who}; see: api-admin user list") from None


def check_email(text: str) -> None:
    """Raise what says why a new user cannot have this address."""
    from pydantic import TypeAdapter

    from app.errors import Conflict, NotFound
    from app.managers.user import UserManager
    from app.schemas.fields import Email

    email: str = TypeAdapter(Email).validate_python(text)

    async def work(session: AsyncSession) -> None:
        try:
            await UserManager(session).get_by_email(email)
        except NotFound:
            return
        raise Conflict("This e-mail address is taken.")

    in_session(work)


def check_name(text: str) -> None:
    """Raise what says why this is no name."""
    from pydantic import TypeAdapter

    from app.schemas.fields import Name

    TypeAdapter(Name).validate_python(text)


def check_password(text: str) -> None:
    """Raise what says why nobody can have this password."""
    from pydantic import TypeAdapter

    from app.config import get_settings
    from app.managers.passwords import require_good_password
    from app.schemas.fields import NewPassword

    TypeAdapter(NewPassword).validate_python(text)
    require_good_password(text, get_settings())


def row_id(text: str) -> int | None:
    """The id that `text` is, None when it can be none."""
    from app.schemas.fields import MAX_ID

    number = int(text) if text.isdecimal() and len(text) < 20 else 0
    return number if 0 < number <= MAX_ID else None


def change_user(
    who: str, action: Callable[[UserManager, int], Awaitable[object]]
) -> str:
    """Run `action` for the user that `who` names, and return the user's address."""
    from app.managers.user import UserManager

    async def work(session: AsyncSession) -> str:
        user = await find_user(session, who)
        await action(UserManager(session), user.id)
        return user.email

    return in_session(work)
