"""The examples of the caching guide, as they stand there, and what they call."""

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.cache import (
    cached,
    invalidate_api_keys_cache,
    invalidate_namespace,
    invalidate_user_cache,
    invalidate_users_list_cache,
    user_scoped_key_builder,
)
from app.managers.auth import AuthManager
from app.models.user import User

router = APIRouter(prefix="/specified")
runs: list[str] = []


async def perform_expensive_operation() -> dict[str, int]:
    runs.append("operation")
    return {"run": len(runs)}


async def fetch_products(category: str | None) -> list[str]:
    runs.append("products")
    return [f"{category}-{len(runs)}"]


@router.get("/expensive-query")
@cached(expire=300, namespace="queries")
async def expensive_query(request: Request, response: Response):  # type: ignore[no-untyped-def]  # as it stands there
    # This will be cached for 5 minutes
    result = await perform_expensive_operation()
    return result  # noqa: RET504


@router.get("/users/me")
@cached(expire=300, namespace="user", key_builder=user_scoped_key_builder)
async def get_current_user(  # type: ignore[no-untyped-def]  # as it stands there
    request: Request, response: Response, user: User = Depends(AuthManager())
):
    # Cached per user, automatically invalidated on user updates
    return user


@router.get("/dashboard")
@cached(namespace="dashboard", key_builder=user_scoped_key_builder)
async def get_dashboard(user: User = Depends(AuthManager())):  # type: ignore[no-untyped-def]  # as it stands there
    return {"user_id": user.id, "data": "..."}


def custom_key_builder(
    func: Any,
    namespace: str,
    request: Request,
    response: Response,
    *args: Any,
    **kwargs: Any,
) -> str:
    """Build cache key based on query parameters."""
    category = request.query_params.get("category", "all")
    return f"{namespace}:{func.__name__}:{category}"


@router.get("/products")
@cached(namespace="products", key_builder=custom_key_builder)
async def list_products(  # type: ignore[no-untyped-def]  # as it stands there
    request: Request, response: Response, category: str | None = None
):
    return await fetch_products(category)


async def after_updating_user_data(db: AsyncSession, user: User) -> None:
    await db.commit()
    await invalidate_user_cache(user.id)


async def after_changing_roles(db: AsyncSession) -> None:
    await db.commit()
    await invalidate_users_list_cache()


async def after_deleting_api_keys(db: AsyncSession, user: User) -> None:
    await db.commit()
    await invalidate_api_keys_cache(user.id)


async def after_changing_a_product() -> None:
    # Clear all cache under custom namespace
    await invalidate_namespace("products:123")
