"""Who may call a route: `user: User = Depends(AuthManager("profile:read"))`."""

from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import (
    APIKeyHeader,
    HTTPAuthorizationCredentials,
    HTTPBearer,
    SecurityScopes,
)
from pydantic import TypeAdapter, ValidationError
from starlette.requests import HTTPConnection

from app.cache import authenticator
from app.config import Settings
from app.database import Database
from app.database.base import utc_now
from app.errors import BadRequest, Forbidden, NotAuthenticated
from app.managers.api_key import LastUse
from app.managers.principal import (
    Principal,
    load_key_principal,
    load_session_principal,
)
from app.managers.scopes import ALL_SCOPES
from app.managers.tokens import parse_key_text, read_token
from app.models.user import Role, User
from app.schemas.fields import UserId

__all__ = [
    "AuthManager",
    "CurrentPrincipal",
    "CurrentUser",
    "Principal",
    "SelfOrAdmin",
]

Bearer = Annotated[
    HTTPAuthorizationCredentials | None,
    Security(
        HTTPBearer(
            scheme_name="Token",
            bearerFormat="JWT",
            description="The `token` of a login",
            auto_error=False,
        )
    ),
]
KeyHeader = Annotated[
    str | None,
    Security(
        APIKeyHeader(
            name="X-API-Key",
            scheme_name="ApiKey",
            description="An API key; its scopes limit what it may do",
            auto_error=False,
        )
    ),
]


NO_MORE = SecurityScopes()
NO_SCOPE = (
    "No API key may do this, because an AuthManager of the route names no scope. Name"
    ' one, as in AuthManager("profile:read"), or let every key in:'
    " AuthManager(any_key=True)."
)


class AuthManager:
    """A dependency: the user who makes the request, if allowed to.

    Without a valid token or API key the answer is 401; for a banned user, without the
    scopes or, with `admin`, without that role it is 403. So it is for every API key
    where no scope is named, unless `any_key` says that they all may. A WebSocket is
    refused like that, too, before it is accepted. `request.state.principal` holds the
    `Principal` then.
    """

    # Of a subclass that does not call `__init__`: no key may.
    scopes: tuple[str, ...] = ()
    admin = False
    any_key = False

    def __init__(
        self, *scopes: str, admin: bool = False, any_key: bool = False
    ) -> None:
        unknown = set(scopes).difference(ALL_SCOPES)
        if unknown:
            raise ValueError(
                f"no such scope: {', '.join(sorted(unknown))}; add it to Scope in"
                " app/managers/scopes.py"
            )
        if scopes and any_key:
            raise ValueError("any_key=True is for a route that names no scope")
        self.scopes = scopes
        self.admin = admin
        self.any_key = any_key

    @authenticator  # so the cache keeps users apart, and asks here on every hit
    async def __call__(
        self,
        request: HTTPConnection,
        bearer: Bearer,
        api_key: KeyHeader,
        more: SecurityScopes = NO_MORE,
    ) -> User:
        principal = await _authenticate(request, bearer, api_key)
        if principal.banned:
            raise Forbidden("This user is banned.", code="banned")
        self.authorize(principal, request)
        require_scopes(principal, *more.scopes)
        if principal.key_id is not None:
            # Here, too, because the `authorize` of a subclass may forget it.
            scopes = self.scopes_for(principal, request)
            require_scopes(principal, *scopes)
            if not (scopes or more.scopes or self.any_key):
                raise Forbidden(NO_SCOPE, code="no_scope")
        request.state.principal = principal
        return principal.as_user()

    def authorize(
        self,
        principal: Principal,
        request: HTTPConnection,  # for subclasses that look at the path
    ) -> None:
        """Raise `Forbidden` unless the principal may do what the route does."""
        if self.admin and principal.role is not Role.admin:
            raise Forbidden("Only an admin may do this.", code="admin_only")
        require_scopes(principal, *self.scopes)

    def scopes_for(
        self,
        principal: Principal,
        request: HTTPConnection,  # for subclasses that look at the path
    ) -> tuple[str, ...]:
        """The scopes without which no API key gets further, whatever `authorize` says.

        For a subclass that asks for others than those that it was made with.
        """
        return self.scopes


class SelfOrAdmin(AuthManager):
    """Lets users at their own, by the path's `user_id`, and admins at all."""

    own_scope = "profile:write"
    _path_id: TypeAdapter[int] = TypeAdapter(UserId)

    def __init__(self) -> None:
        super().__init__("users:write", admin=True)

    def authorize(self, principal: Principal, request: HTTPConnection) -> None:
        if self.scopes_for(principal, request) == (self.own_scope,):
            require_scopes(principal, self.own_scope)
        else:
            super().authorize(principal, request)

    def scopes_for(
        self, principal: Principal, request: HTTPConnection
    ) -> tuple[str, ...]:
        """The own scope at one's own, unless an admin gets in as an admin only."""
        if self._is_self(principal, request) and (
            self.own_scope in principal.scopes or principal.role is not Role.admin
        ):
            return (self.own_scope,)
        return self.scopes

    def _is_self(self, principal: Principal, request: HTTPConnection) -> bool:
        try:
            user_id = self._path_id.validate_python(request.path_params["user_id"])
        except ValidationError:
            return False
        return user_id == principal.user_id


def require_scopes(principal: Principal, *scopes: str) -> None:
    """Raise `Forbidden`, which names what is missing, unless all scopes are there."""
    missing = [scope for scope in scopes if scope not in principal.scopes]
    if missing:
        raise Forbidden(
            f"These credentials lack the scope {', '.join(missing)}.",
            code="missing_scope",
        )


async def _authenticate(
    request: HTTPConnection,
    bearer: HTTPAuthorizationCredentials | None,
    api_key: str | None,
) -> Principal:
    settings: Settings = request.app.state.settings
    database: Database = request.app.state.database
    headers = request.headers
    if len(headers.getlist("authorization") + headers.getlist("x-api-key")) > 1:
        raise BadRequest(
            "Send one token or one API key, not more.", code="several_credentials"
        )
    if bearer is not None:
        claims = read_token(bearer.credentials, "access", settings)
        return await load_session_principal(
            database, user_id=claims.user_id, session_id=claims.session_id
        )
    key = parse_key_text(api_key) if api_key is not None else None
    if key is None:
        what = "This API key is not valid." if api_key is not None else None
        raise NotAuthenticated(what)
    principal = await load_key_principal(database, key=key, settings=settings)
    now = utc_now()
    expires_at, key_id = principal.key_expires_at, principal.key_id
    if expires_at is not None and expires_at <= now:
        raise NotAuthenticated("This API key has expired.")
    last_use: LastUse = request.app.state.last_use
    if key_id is not None:
        last_use.note(principal.user_id, key_id, now)
    return principal


@authenticator
def _principal(request: HTTPConnection) -> Principal:
    """Only after an `AuthManager` of the same route."""
    principal: Principal = request.state.principal
    return principal


# No API key may, as it names no scope.
CurrentUser = Annotated[User, Depends(AuthManager())]
CurrentPrincipal = Annotated[Principal, Depends(_principal)]
