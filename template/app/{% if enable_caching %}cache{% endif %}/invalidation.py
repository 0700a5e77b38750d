"""Dropping cached entries by hand.

None of these functions raises because of the cache, and each does nothing where there
is none. They return when the entries are gone. Called inside a transaction, they act at
once, since it may be about something else, and again at its commit, since somebody may
have read older data until then.
"""

from app.cache.engine.commits import touch_at_commit
from app.cache.engine.entry import owner_of
from app.cache.engine.exchange import caches_of_task
from app.cache.engine.fence import on_its_loop
from app.cache.engine.memory import OtherMemory
from app.cache.setup import opened_caches
from app.config import Settings, get_settings


async def invalidate_namespace(namespace: str) -> None:
    """Drop every entry whose key has `namespace` as its first whole segments."""
    await _invalidate(namespace)


async def invalidate_user_cache(user_id: int) -> None:
    """Drop what is cached for and about one user."""
    await _invalidate(f"user:{user_id}", f"users:{user_id}:single")


async def invalidate_users_list_cache() -> None:
    """Drop every page of the list of users."""
    await _invalidate("users:list")


async def invalidate_api_keys_cache(user_id: int) -> None:
    """Drop what is cached of one user's API keys."""
    await _invalidate(f"apikeys:{user_id}")


async def dropped(settings: Settings, namespace: str, cause: str) -> str:
    """Drop a namespace, and return in a sentence what that did."""
    name = owner_of(namespace)
    async with opened_caches(settings) as caches:
        for cache in caches:
            await cache.invalidate([namespace], cause)
        undone = any(cache.store.fallback for cache in caches)
        whole = any(isinstance(cache.store, OtherMemory) for cache in caches)
    if undone:
        what = name or "everything"
        return f"Not dropped yet: {what}; see: api-admin cache status"
    if whole:
        return "Dropped everything that services on this machine have in memory."
    return f"Dropped {name} and all below it." if name else "Dropped everything."


async def _invalidate(*namespaces: str) -> None:
    touch_at_commit(namespaces, "invalidate_*")
    async with opened_caches(get_settings()) as opened:
        for cache in caches_of_task() or opened:
            await on_its_loop(
                cache, lambda cache: cache.invalidate(namespaces, "invalidate_*")
            )
