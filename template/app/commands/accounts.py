"""Finding and changing the user that a command names, and what a user may be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from app.commands.refusals import Refused
from app.commands.running import in_session

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from app.managers.user import UserManager
    from app.models import User


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
