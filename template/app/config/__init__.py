"""Settings: what the environment and `.env` say about this process."""

from app.config.load import get_settings
from app.config.settings import Settings

__all__ = ["Settings", "get_settings"]
