"""How often somebody may do something, and what guessing a password costs.

`Depends(RateLimit("10/minute"))` on a route of yours. The others are for the routes of
`app/resources`: their limits are settings, RATE_LIMIT_….
"""

from app.limits.rate import RateLimit
from app.limits.routes import (
    KeysLimit,
    LoginLimit,
    PasswordLimit,
    RefreshLimit,
    RegisterLimit,
)
from app.limits.setup import install_limits, limits_lifespan, warn_of_workers

__all__ = [
    "KeysLimit",
    "LoginLimit",
    "PasswordLimit",
    "RateLimit",
    "RefreshLimit",
    "RegisterLimit",
    "install_limits",
    "limits_lifespan",
    "warn_of_workers",
]
