"""Whether the cache is on, and what `app.cache` offers while it is off.

These are the same names, at no cost. The types are those of the real ones, see
`__init__.py`.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from app.config import Settings, get_settings
from app.errors import StartupError


def is_on() -> bool:
    """Return CACHE_ENABLED."""
    try:
        return get_settings().cache_enabled
    except StartupError:
        # Nothing starts with these settings; that does not forbid importing a route.
        return True


def cached(*_: object, **__: object) -> Callable[[Any], Any]:
    return lambda function: function


def install_cache(_: object, settings: Settings) -> None:
    if settings.cache_enabled:
        raise StartupError(
            "CACHE_ENABLED was false when the routes were imported: set it in the "
            "environment or in .env, not only for create_app."
        )


@asynccontextmanager
async def cache_lifespan(*_: object) -> AsyncIterator[None]:
    yield


def provider(dependency: Any) -> Any:
    return dependency


authenticator = check = provider


def segment(value: object) -> str:
    return str(value)


def _nothing(*_: object, **__: object) -> None: ...


async def _nothing_async(*_: object) -> None: ...


def _no_key(*_: object, **__: object) -> str:
    return ""


CachePolicy = object
cache_policy = check_workers = touches = watch_commits = _nothing
cache_health = _nothing_async
invalidate_api_keys_cache = invalidate_namespace = _nothing_async
invalidate_user_cache = invalidate_users_list_cache = _nothing_async
api_key_single_key_builder = api_keys_list_key_builder = _no_key
identity_of = paginated_key_builder = _no_key
shared_key_builder = user_scoped_key_builder = users_list_key_builder = _no_key
