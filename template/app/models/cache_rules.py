"""Which cached answers a change of which row makes stale.

A commit invalidates the namespaces named here; `{id}` stands for the row's column.
`unless_only` names columns whose change alone leaves the namespaces as they are.
Without a rule, each change of a table drops all that was read from it.
"""

from app.cache import touches
from app.models.api_key import ApiKey
from app.models.auth_session import AuthSession
from app.models.user import User

touches(User, "user:{id}", "users:{id}:single", "users:list", "principal:{id}")
touches(User, "apikeys:{id}")  # who asks for a user's keys is told if there is none
touches(AuthSession, "sessions:{user_id}")
touches(AuthSession, "principal:{user_id}", unless_only={"refresh_jti", "expires_at"})
touches(ApiKey, "apikeys:{user_id}")
touches(ApiKey, "principal:{user_id}", unless_only={"name", "last_used_at"})
