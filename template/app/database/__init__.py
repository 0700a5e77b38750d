"""The database: the tables' base, the engine, and the session of a request."""

from app.database.base import Base
from app.database.engine import Database
from app.database.session import SessionDep, get_session

__all__ = ["Base", "Database", "SessionDep", "get_session"]
