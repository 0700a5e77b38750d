"""Finding and changing the user that a command names."""

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
