"""The response cache: what the rest of the service, and its owner, may use.

`cached` on a route or on any function; the key builders, and `segment` for one of your
own; the `invalidate_*` helpers for changes that SQLAlchemy does not see; `touches` to
state which namespaces a change of which model touches; `provider` for a dependency that
only makes something. How it is done is in `engine/`, which you need not read.
"""

from typing import TYPE_CHECKING

from app.cache.off import is_on

if TYPE_CHECKING or is_on():
    from app.cache.decorator import cached
    from app.cache.engine.entry import segment
    from app.cache.engine.exchange import identity_of
    from app.cache.engine.policy import CachePolicy, cache_policy
    from app.cache.engine.providers import authenticator, check, provider
    from app.cache.invalidation import (
        invalidate_api_keys_cache,
        invalidate_namespace,
        invalidate_user_cache,
        invalidate_users_list_cache,
    )
    from app.cache.keys import (
        api_key_single_key_builder,
        api_keys_list_key_builder,
        paginated_key_builder,
        shared_key_builder,
        user_scoped_key_builder,
        users_list_key_builder,
    )
    from app.cache.rules import touches
    from app.cache.setup import (
        cache_health,
        cache_lifespan,
        check_workers,
        install_cache,
        watch_commits,
    )
else:
    from app.cache.off import *  # noqa: F403 - the same names

__all__ = [
    "CachePolicy",
    "api_key_single_key_builder",
    "api_keys_list_key_builder",
    "authenticator",
    "cache_health",
    "cache_lifespan",
    "cache_policy",
    "cached",
    "check",
    "check_workers",
    "identity_of",
    "install_cache",
    "invalidate_api_keys_cache",
    "invalidate_namespace",
    "invalidate_user_cache",
    "invalidate_users_list_cache",
    "paginated_key_builder",
    "provider",
    "segment",
    "shared_key_builder",
    "touches",
    "user_scoped_key_builder",
    "users_list_key_builder",
    "watch_commits",
]
