"""Whether the cache is on, which decides what `app.cache` imports."""

from app.config import get_settings
from app.errors import StartupError


def is_on() -> bool:
    """Return CACHE_ENABLED."""
    try:
        return get_settings().cache_enabled
    except StartupError:
        # Nothing starts with these settings; that does not forbid importing a route.
        return True
