"""The tables. Importing this package registers all of them, and their cache rules."""

from app.models import cache_rules as cache_rules
from app.models import yours as yours
from app.models.api_key import ApiKey
from app.models.auth_session import AuthSession
from app.models.user import Role, User

__all__ = ["ApiKey", "AuthSession", "Role", "User"]
