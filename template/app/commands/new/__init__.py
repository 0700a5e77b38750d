"""`api-admin new`: a table with all that belongs to it, as code of yours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.console import hint, say
from app.commands.new.table import KINDS, make_table, parse_fields

if TYPE_CHECKING:
    from app.commands.new.table import Table

app = typer.Typer()

TYPES = "\n\n".join(f"  {name:<10}{kind.means}" for name, kind in KINDS.items())


@app.command(
    epilog=f"""[bold]Types[/bold]

{TYPES}

After the type, [bold]?[/bold] makes a field optional, and [bold]![/bold] unique.

[bold]Examples[/bold]

  api-admin new product name:str price:decimal stock:int
  api-admin new order_item sku:str! note:text? --admin
  api-admin new person --plural people born:date --dry-run"""
)
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What one of them is called.")
    ],
    fields: Annotated[
        list[str] | None,
        typer.Argument(metavar="FIELD:TYPE", help="Default: name:str."),
    ] = None,
    plural: Annotated[
        str | None,
        typer.Option(help="What several are called, if the default is wrong."),
    ] = None,
    admin: Annotated[
        bool, typer.Option("--admin", help="Only admins may write.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; print it as a patch.")
    ] = False,
) -> None:
    """Add a table: model, schemas, manager, cached routes, migration and tests.

    There will be a list, with pages, filters and an order, and routes that show,
    create, change and delete one. Reading needs the scope products:read, writing
    products:write. All of it becomes your code, which no update of the template
    touches: change it as you like. The templates are in app/commands/new/templates.
    """
    table = make_table(name, plural, parse_fields(fields or []), admin=admin)

    from app.commands.new.files import difference, write

    files = _files(table)
    if dry_run:
        typer.echo(difference(files), nl=False)
        hint("Nothing is written. To apply it later: git apply")
        return
    write(files)
    for path in files:
        say(f"Wrote {path}")
    say("")
    say("Next:")
    say("  uv run api-admin db upgrade    makes the table")
    say("  uv run pytest")
    say("  uv run api-admin serve         serves it, as /docs shows:")
    say(f"    http://127.0.0.1:8000/{table.path}")


def _files(table: Table) -> dict[str, str]:
    """Return the text of all files, by their paths; raises Refused."""
    import secrets
    from datetime import datetime

    from app.commands.new.files import registered, render, require_free
    from app.database.migrate import head_revisions, require_one_head

    require_one_head()
    require_free(table)
    (after,) = head_revisions()
    more = {
        "day": f"{datetime.now():%Y_%m_%d}",
        "revision": secrets.token_hex(6),
        "after": after,
    }
    return render(table, **more) | registered(table)
