"""Names that a new table or its fields cannot have, as something has them already."""

from keyword import iskeyword

from fastapi.routing import iter_route_contexts
from pydantic import BaseModel

from app.commands.new.table import Table
from app.commands.new.templates import FILES, PROJECT, clashes
from app.commands.refusals import Refused
from app.commands.running import settings_for_people
from app.database.base import Base
from app.main import create_app
from app.managers.scopes import ALL_SCOPES


def require_free(table: Table) -> None:
    """Raise Refused, with the reason, unless everything can be called so."""
    if not (PROJECT / "tests").is_dir():
        raise Refused("This is no checkout of the service: run it where its tests are")
    for kind, path in FILES.items():
        file = path.replace("$name", table.name)
        if kind != "migration" and (PROJECT / file).exists():
            raise Refused(f"{file} exists: use another name")
    if table.names in Base.metadata.tables:
        raise Refused(f"The table {table.names} exists: use another name or --plural")
    if taken := set(table.scopes) & set(ALL_SCOPES):
        raise Refused(f"The scope {min(taken)} exists: use another name or --plural")
    routes = iter_route_contexts(create_app(settings_for_people()).routes)
    if f"/{table.path}" in {"/".join((r.path or "").split("/")[:2]) for r in routes}:
        raise Refused(f"/{table.path} is served: use another name or --plural")
    for name, file in clashes(table):
        raise Refused(f"{name} is something else in {file}: use another name")
    for field in table.fields:
        for owner in (BaseModel, Base):
            if hasattr(owner, field.name) or iskeyword(field.name):
                raise Refused(f"No field can be called {field.name}: use another name")
