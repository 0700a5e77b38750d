from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, status

from app.cache import cached, user_scoped_key_builder, users_list_key_builder
from app.errors import Conflict, NotFound
from app.limits import PasswordLimit
from app.managers.auth import CurrentPrincipal
from app.models.user import User
from app.openapi import problems
from app.resources.dependencies import (
    ADMIN_MAKER,
    OWNER_OR_ADMIN,
    USERS_READER,
    USERS_WRITER,
    OwnerOrAdmin,
    PageNumber,
    PageSize,
    ProfileReader,
    Users,
    UsersWriter,
)
from app.schemas.fields import MAX_ID, Text, UserId
from app.schemas.page import Page
from app.schemas.user import PasswordChange, SearchField, UserOut, UserUpdate

router = APIRouter(prefix="/users", tags=["users"])


@router.get("/me", summary="Show my profile", response_model=UserOut)
@cached(namespace="user", key_builder=user_scoped_key_builder)
async def me(user: ProfileReader) -> User:
    """The user who asks."""
    return user


@router.get(
    "/", summary="List users", responses=problems(NotFound), dependencies=[USERS_READER]
)
@cached(namespace="users", key_builder=users_list_key_builder)
async def list_users(
    users: Users,
    user_id: Annotated[
        int | None, Query(ge=1, le=MAX_ID, description="Only this user")
    ] = None,
    page: PageNumber = 1,
    size: PageSize = 50,
) -> UserOut | Page[UserOut]:
    """A page of all users, oldest first; with `user_id` that user alone."""
    if user_id is not None:
        return UserOut.model_validate(await users.get(user_id))
    return _page(*await users.list(page, size), page, size)


@router.get("/search", summary="Search users", dependencies=[USERS_READER])
@cached(namespace="users:list")
async def search(
    users: Users,
    field: SearchField,
    term: Annotated[Text, Query(min_length=1, max_length=254)],
    page: PageNumber = 1,
    size: PageSize = 50,
) -> Page[UserOut]:
    """A page of the users whose field contains the term, in any case."""
    return _page(*await users.search(field, term, page, size), page, size)


@router.put(
    "/{user_id}",
    summary="Change a profile",
    response_model=UserOut,
    responses=problems(NotFound, Conflict),
    dependencies=[OWNER_OR_ADMIN],
)
async def update(user_id: UserId, data: UserUpdate, users: Users) -> User:
    """Change one's own profile; an admin can change anyone's."""
    return await users.update(user_id, data)


@router.delete(
    "/{user_id}",
    summary="Delete a user",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(NotFound, Conflict),
)
async def delete(admin: UsersWriter, user_id: UserId, users: Users) -> None:
    """Delete a user with all sessions and API keys."""
    await users.delete(user_id, by=admin.id)


@router.post(
    "/{user_id}/ban",
    summary="Ban a user",
    response_model=UserOut,
    responses=problems(NotFound, Conflict),
)
async def ban(admin: UsersWriter, user_id: UserId, users: Users) -> User:
    """Shut a user out from the next request on, and end their sessions."""
    return await users.ban(user_id, by=admin.id)


@router.post(
    "/{user_id}/unban",
    summary="Unban a user",
    response_model=UserOut,
    responses=problems(NotFound),
    dependencies=[USERS_WRITER],
)
async def unban(user_id: UserId, users: Users) -> User:
    """Let a banned user in again."""
    return await users.unban(user_id)


@router.post(
    "/{user_id}/make-admin",
    summary="Make a user an admin",
    response_model=UserOut,
    responses=problems(NotFound),
    dependencies=[ADMIN_MAKER],
)
async def make_admin(user_id: UserId, users: Users) -> User:
    """Give a user the admin role, from the next request on."""
    return await users.make_admin(user_id)


@router.post(
    "/{user_id}/demote",
    summary="Make an admin a user",
    response_model=UserOut,
    responses=problems(NotFound, Conflict),
)
async def demote(admin: UsersWriter, user_id: UserId, users: Users) -> User:
    """Take the admin role away, from the next request on; the last admin keeps it."""
    return await users.demote(user_id, by=admin.id)


@router.post(
    "/{user_id}/password",
    summary="Change a password",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(NotFound),
)
async def change_password(
    caller: OwnerOrAdmin,
    principal: CurrentPrincipal,
    limit: PasswordLimit,
    user_id: UserId,
    data: PasswordChange,
    users: Users,
) -> None:
    """Set a new password and end all other sessions; one's own needs the current one.

    API keys go on, unless `revoke_api_keys` deletes them.
    """
    if caller.id == user_id:
        async with limit.password_attempt(caller.email):
            await users.change_password(
                user_id,
                data.current_password,
                data.password,
                keep=principal.session_id,
                revoke_api_keys=data.revoke_api_keys,
            )
    else:
        await limit.count(caller.email)
        await users.set_password(
            user_id,
            data.password,
            by=principal,
            revoke_api_keys=data.revoke_api_keys,
        )


def _page(users: Sequence[User], total: int, page: int, size: int) -> Page[UserOut]:
    return Page[UserOut](
        items=[UserOut.model_validate(user) for user in users],
        total=total,
        page=page,
        size=size,
        pages=-(-total // size),
    )
