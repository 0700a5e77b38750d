"""The database: tables' base, engine, and the session of a request."""

from app.database.base import Base, IntegerId, Timestamps, UtcDateTime
from app.database.engine import Database
from app.database.session import SessionDep, get_session

__all__ = [
    "Base",
    "Database",
    "IntegerId",
    "SessionDep",
    "Timestamps",
    "UtcDateTime",
    "get_session",
]
