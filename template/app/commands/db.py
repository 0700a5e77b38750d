"""`api-admin db`: the tables of the database, and made-up users to fill them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.console import AsJson, Yes, confirm, counting, hint, print_json, say
from app.commands.refusals import Refused
from app.commands.running import in_session
from app.commands.user import add_users

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncSession

    from app.config import Settings

app = typer.Typer(
    name="db",
    help="Migrate the database, and fill it with made-up users.",
    epilog="""[bold]Examples[/bold]

  api-admin db current
  api-admin db upgrade
  api-admin db revision -m "add invoices"
  api-admin db merge
  api-admin db populate 1000""",
    no_args_is_help=True,
)

Target = Annotated[
    str, typer.Argument(metavar="[REVISION]", help="A revision, or -1, +1, base, head.")
]


@app.command()
def upgrade(
    revision: Target = "head",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only name the migrations that would run.")
    ] = False,
) -> None:
    """Bring the tables to the newest (or the given) revision."""
    from app.database import migrate

    with _database() as settings:
        before = migrate.current(settings)
        if dry_run:
            _announce(before, migrate.pending(settings, revision))
            return
        migrate.upgrade(settings, revision)
        _report(before, migrate.current(settings))


@app.command(
    epilog="""[bold]Examples[/bold]

  api-admin db downgrade          one step back
  api-admin db downgrade base     drop everything""",
    context_settings={"ignore_unknown_options": True},  # -1 is a revision
)
def downgrade(revision: Target = "-1", yes: Yes = False) -> None:
    """Take the tables back to an older revision, with the data of what is dropped."""
    from app.database import migrate

    with _database() as settings:
        before = migrate.current(settings)
        if not before:
            raise Refused("There is nothing to take back: no migration was applied")
        confirm(f"Go back from {_name(before)} to {revision} and lose data?", yes=yes)
        migrate.downgrade(settings, revision)
        _report(before, migrate.current(settings))


@app.command(
    epilog="""[bold]Examples[/bold]

  api-admin db revision -m "add invoices"
  api-admin db revision -m "fill in prices" --empty    to be written by hand"""
)
def revision(
    message: Annotated[
        str, typer.Option("--message", "-m", help="What the migration does.")
    ],
    empty: Annotated[
        bool, typer.Option("--empty", help="Write one even without a difference.")
    ] = False,
) -> None:
    """Write a migration from the differences between the tables and the models."""
    from app.database import migrate

    # Alembic says the same in more words.
    with _database(known=not empty) as settings, redirect_stdout(StringIO()):
        files = migrate.make_revision(settings, message, empty=empty)
    if not files:
        say("Nothing to do: the tables are as the models say")
        return
    for file in files:
        say(f"Wrote {os.path.relpath(file)}")
    hint("Read it, then run: api-admin db upgrade")


@app.command(
    epilog="""[bold]Example[/bold]

  api-admin db merge    after an update that brought a migration beside yours"""
)
def merge(
    message: Annotated[
        str, typer.Option("--message", "-m", help="What the new migration is called.")
    ] = "merge migrations",
) -> None:
    """Join migrations that follow the same one by a new one, which changes no table.

    Needs no database. The new file belongs into git, like the ones that it joins.
    """
    from app.config import get_settings
    from app.database import migrate

    heads = migrate.head_revisions()
    with redirect_stdout(StringIO()):
        file = migrate.merge(get_settings(), message)
    if file is None:
        say(f"Nothing to merge: the newest migration is {_name(heads)}")
        return
    say(f"Wrote {os.path.relpath(file)}, which follows {' and '.join(heads)}")
    hint("Commit it, then run: api-admin db upgrade")


@app.command()
def current(as_json: AsJson = False) -> None:
    """Show the revision of the tables, and whether there is a newer one."""
    from app.database import migrate

    heads = migrate.head_revisions()
    with _database(quiet=as_json, known=False) as settings:
        revisions = migrate.current(settings)
    behind = migrate.lacks_migrations(revisions)
    if as_json:
        unknown = migrate.unknown_revisions(revisions)
        about = {"revisions": revisions, "heads": heads, "behind": behind}
        print_json({**about, "unknown": unknown})
        return
    migrate.require_known(revisions)
    if len(heads) > 1:
        say(f"Revision: {_name(revisions)}")
        say(f"Newest: {_name(heads)}, not merged. Run: api-admin db merge")
    elif behind:
        say(f"Revision: {_name(revisions)}, behind. Run: api-admin db upgrade")
    else:
        say(f"Revision: {_name(revisions)}, up to date")


@app.command()
def check() -> None:
    """Check, as CI does, that the tables are as the models say; exit with 1 if not."""
    from app.database import migrate

    migrate.require_one_head()
    with _database() as settings:
        if migrate.is_behind(settings):
            raise Refused("Migrations are missing: run: api-admin db upgrade")
        if migrate.has_drift(settings):
            raise Refused(
                "The models say something else than the tables: "
                'run: api-admin db revision -m "what changed"'
            )
    say("The tables are as the models say")


@app.command(
    epilog="""[bold]Examples[/bold]

  api-admin db populate 1000
  api-admin db populate 100000    takes seconds"""
)
def populate(
    count: Annotated[
        int, typer.Argument(min=1, max=10_000_000, help="How many users to add.")
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Do it in production, too.")
    ] = False,
) -> None:
    """Add made-up users, who all have one password, which is printed.

    It is made anew each time. Their addresses are at example.com, where mail reaches
    nobody.
    """
    import secrets

    from app.config import get_settings

    if get_settings().environment == "production" and not force:
        raise Refused("This is production. To add made-up users there, use --force")
    password = secrets.token_urlsafe(12)

    async def work(session: AsyncSession) -> None:
        with counting("Adding users", count) as progress:
            await add_users(session, count, password, progress)

    in_session(work)
    say(f"Added {count:,} users. The password of each of them: {password}")
    hint("See them with: api-admin user list")


@contextmanager
def _database(*, quiet: bool = False, known: bool = True) -> Iterator[Settings]:
    """Have the database there, and say which one it is.

    Raises StartupError for one at a revision that this code does not know, if that has
    to be `known`.
    """
    from sqlalchemy import make_url

    from app.config import get_settings
    from app.database import migrate
    from app.database.local import prepare_local_database

    settings = get_settings()
    if not quiet:
        hint(f"Database: {make_url(settings.database_url)!r}")
    with prepare_local_database(settings):
        if known:
            migrate.require_known(migrate.current(settings))
        yield settings


def _announce(before: tuple[str, ...], files: list[Path]) -> None:
    if not files:
        say(f"Nothing to do: the revision is {_name(before)}")
        return
    say(f"Would run {len(files)} migration{'s' * (len(files) > 1)}:")
    for file in files:
        say(f"- {file.name}")


def _report(before: tuple[str, ...], after: tuple[str, ...]) -> None:
    if before == after:
        say(f"Nothing to do: the revision is {_name(after)}")
    else:
        say(f"From revision {_name(before)} to {_name(after)}")


def _name(revisions: tuple[str, ...]) -> str:
    return ", ".join(revisions) or "none"
