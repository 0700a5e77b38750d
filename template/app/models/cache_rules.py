"""Which cached answers a change of which row makes stale.

A commit invalidates the namespaces named here; `{id}` stands for the row's column.
`unless_only` names columns whose change alone leaves the namespaces as they are.
"""

from app.cache import touches
from app.models.api_key import ApiKey
from app.models.auth_session import AuthSession
from app.models.user import User

touches(User, "user:{id}", "users:{id}:single", "users:list", "principal:{id}")
touches(AuthSession, "principal:{user_id}", unless_only={"refresh_jti", "expires_at"})
touches(ApiKey, "apikeys:{user_id}")
touches(ApiKey, "principal:{user_id}", unless_only={"name", "last_used_at"})
