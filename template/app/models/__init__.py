"""The tables. Importing this package registers all of them, and their cache rules."""

from importlib import import_module
from pkgutil import iter_modules

from app.models import cache_rules as cache_rules
from app.models.api_key import ApiKey
from app.models.auth_session import AuthSession
from app.models.user import Role, User

# Yours, too: a table is known as soon as its module is in this folder.
for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")

__all__ = ["ApiKey", "AuthSession", "Role", "User"]
