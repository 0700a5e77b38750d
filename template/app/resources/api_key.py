from collections.abc import Sequence

from fastapi import APIRouter, status

from app.cache import (
    api_key_single_key_builder,
    api_keys_list_key_builder,
    cached,
)
from app.errors import Conflict, NotFound
from app.limits import KeysLimit
from app.managers.auth import CurrentPrincipal
from app.models.api_key import ApiKey
from app.openapi import problems
from app.resources.dependencies import (
    KEYS_WRITER,
    USERS_READER,
    USERS_WRITER,
    ApiKeys,
    KeysReader,
    KeysWriter,
)
from app.schemas.api_key import ApiKeyCreate, ApiKeyCreated, ApiKeyOut, ApiKeyUpdate
from app.schemas.fields import KeyId, UserId

router = APIRouter(prefix="/users/keys", tags=["keys"])


@router.get("", summary="List my API keys", response_model=list[ApiKeyOut])
@cached(namespace="apikeys", key_builder=api_keys_list_key_builder)
async def list_keys(user: KeysReader, api_keys: ApiKeys) -> Sequence[ApiKey]:
    """All keys of the user who asks, oldest first."""
    return await api_keys.list(user.id)


@router.post(
    "",
    summary="Create an API key",
    status_code=status.HTTP_201_CREATED,
    responses=problems(Conflict),
    dependencies=[KEYS_WRITER],
)
async def create_key(
    principal: CurrentPrincipal,
    limit: KeysLimit,
    data: ApiKeyCreate,
    api_keys: ApiKeys,
) -> ApiKeyCreated:
    """Create a key that can do no more than who asks. Its text is shown only now."""
    await limit.count(principal.email)
    return _created(*await api_keys.create(principal.user_id, data, by=principal))


@router.get(
    "/{key_id}",
    summary="Show one of my API keys",
    response_model=ApiKeyOut,
    responses=problems(NotFound),
)
@cached(namespace="apikeys", key_builder=api_key_single_key_builder)
async def get_key(
    user: KeysReader,
    key_id: KeyId,
    api_keys: ApiKeys,
) -> ApiKey:
    """One key of the user who asks."""
    return await api_keys.get(user.id, key_id)


@router.patch(
    "/{key_id}",
    summary="Change one of my API keys",
    response_model=ApiKeyOut,
    responses=problems(NotFound),
    dependencies=[KEYS_WRITER],
)
async def update_key(
    principal: CurrentPrincipal,
    key_id: KeyId,
    data: ApiKeyUpdate,
    api_keys: ApiKeys,
) -> ApiKey:
    """Change the fields that are sent; the key follows from the next request on."""
    return await api_keys.update(principal.user_id, key_id, data, by=principal)


@router.delete(
    "/{key_id}",
    summary="Delete one of my API keys",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(NotFound),
)
async def delete_key(user: KeysWriter, key_id: KeyId, api_keys: ApiKeys) -> None:
    """Revoke a key for good."""
    await api_keys.delete(user.id, key_id)


@router.get(
    "/by-user/{user_id}",
    summary="List a user's API keys",
    response_model=list[ApiKeyOut],
    responses=problems(NotFound),
    dependencies=[USERS_READER],
)
@cached(namespace="apikeys", key_builder=api_keys_list_key_builder)
async def list_user_keys(
    user_id: UserId,
    api_keys: ApiKeys,
) -> Sequence[ApiKey]:
    """All keys of a user, oldest first."""
    return await api_keys.list(user_id)


@router.post(
    "/by-user/{user_id}",
    summary="Create an API key for a user",
    status_code=status.HTTP_201_CREATED,
    responses=problems(NotFound, Conflict),
    dependencies=[USERS_WRITER],
)
async def create_user_key(
    principal: CurrentPrincipal,
    limit: KeysLimit,
    user_id: UserId,
    data: ApiKeyCreate,
    api_keys: ApiKeys,
) -> ApiKeyCreated:
    """Create a key that can do no more than its user, nor than who asks."""
    await limit.count(principal.email)
    return _created(*await api_keys.create(user_id, data, by=principal))


@router.get(
    "/by-user/{user_id}/{key_id}",
    summary="Show an API key of a user",
    response_model=ApiKeyOut,
    responses=problems(NotFound),
    dependencies=[USERS_READER],
)
@cached(namespace="apikeys", key_builder=api_key_single_key_builder)
async def get_user_key(
    user_id: UserId,
    key_id: KeyId,
    api_keys: ApiKeys,
) -> ApiKey:
    """One key of a user."""
    return await api_keys.get(user_id, key_id)


@router.patch(
    "/by-user/{user_id}/{key_id}",
    summary="Change an API key of a user",
    response_model=ApiKeyOut,
    responses=problems(NotFound),
    dependencies=[USERS_WRITER],
)
async def update_user_key(
    principal: CurrentPrincipal,
    user_id: UserId,
    key_id: KeyId,
    data: ApiKeyUpdate,
    api_keys: ApiKeys,
) -> ApiKey:
    """Change the fields that are sent; the key follows from the next request on."""
    return await api_keys.update(user_id, key_id, data, by=principal)


@router.delete(
    "/by-user/{user_id}/{key_id}",
    summary="Delete an API key of a user",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(NotFound),
    dependencies=[USERS_WRITER],
)
async def delete_user_key(user_id: UserId, key_id: KeyId, api_keys: ApiKeys) -> None:
    """Revoke a key for good."""
    await api_keys.delete(user_id, key_id)


def _created(api_key: ApiKey, text: str) -> ApiKeyCreated:
    shown = ApiKeyOut.model_validate(api_key)
    return ApiKeyCreated(**shown.model_dump(), key=text)
