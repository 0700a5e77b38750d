"""`api-admin keys`: API keys of any user."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.console import (
    AsJson,
    Page,
    Size,
    Who,
    Yes,
    announce,
    confirm,
    hint,
    print_json,
    print_table,
    say,
)
from app.commands.refusals import Refused
from app.commands.running import find_user, in_session, row_id

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from app.models import ApiKey
    from app.schemas.api_key import ApiKeyCreated, ApiKeyOut

app = typer.Typer(
    name="keys",
    help="Create, list and revoke API keys.",
    epilog="""[bold]Examples[/bold]

  api-admin keys create ada@example.com --name "nightly report"
  api-admin keys list ada@example.com""",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Option(help="What the key is for.")]
Scope = Annotated[
    list[str] | None,
    typer.Option(
        help="What the key may do, profile:read for instance; repeat for more. "
        "Without: all that the user may read."
    ),
]
Expires = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
        metavar="DATE",
        help="When the key stops working, in UTC; without: never.",
    ),
]
OneUser = Annotated[
    str | None,
    typer.Argument(metavar="[USER]", help="Id or e-mail address; without: all users."),
]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The key's prefix or id.")]


@app.command(
    epilog="""[bold]Examples[/bold]

  api-admin keys create ada@example.com --name "nightly report"
  api-admin keys create 1 --name sync --scope users:read --scope keys:read \\
      --expires 2030-01-01
  KEY=$(api-admin keys create 1 --name script)    only the key goes to stdout"""
)
def create(
    who: Who,
    name: Name,
    scope: Scope = None,
    expires: Expires = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and print it. It is stored as a hash and never shown again."""

    async def work(session: AsyncSession) -> ApiKeyCreated:
        from datetime import UTC

        from app.managers.api_key import ApiKeyManager
        from app.schemas.api_key import ApiKeyCreate, ApiKeyCreated, ApiKeyOut

        expires_at = expires and expires.replace(tzinfo=UTC)
        wish = {"name": name, "scopes": scope or None, "expires_at": expires_at}
        data = ApiKeyCreate.model_validate(wish)
        user = await find_user(session, who)
        api_key, text = await ApiKeyManager(session).create(user.id, data)
        shown = ApiKeyOut.model_validate(api_key)
        return ApiKeyCreated(**shown.model_dump(), key=text)

    created = in_session(work)
    if as_json:
        print_json(created.model_dump(mode="json"))
        return
    hint(f"API key {created.prefix} with {' '.join(created.scopes)}; keep it now:")
    say(created.key)


@app.command("list")
def list_keys(
    who: OneUser = None, page: Page = 1, size: Size = 50, as_json: AsJson = False
) -> None:
    """List API keys, of one user or of all, oldest first."""

    async def work(session: AsyncSession) -> tuple[list[tuple[str, ApiKeyOut]], int]:
        from sqlalchemy import func, select

        from app.models import ApiKey, User
        from app.schemas.api_key import ApiKeyOut

        query = select(User.email, ApiKey).join(User, User.id == ApiKey.user_id)
        count = select(func.count()).select_from(ApiKey)
        if who is not None:
            user = await find_user(session, who)
            query = query.where(ApiKey.user_id == user.id)
            count = count.where(ApiKey.user_id == user.id)
        query = query.order_by(ApiKey.id).limit(size).offset((page - 1) * size)
        rows = await session.execute(query)
        keys = [(email, ApiKeyOut.model_validate(key)) for email, key in rows]
        return keys, await session.scalar(count) or 0

    keys, total = in_session(work)
    if as_json:
        print_json([{"user": user} | key.model_dump(mode="json") for user, key in keys])
    elif keys:
        print_table(
            ["Prefix", "User", "Name", "Scopes", "Active", "Expires", "Last use"],
            (
                (
                    key.prefix,
                    user,
                    key.name,
                    key.scopes,
                    key.active,
                    key.expires_at,
                    key.last_used_at,
                )
                for user, key in keys
            ),
        )
    elif not total:
        say("No API keys yet. Make one with: api-admin keys create USER --name NAME")
    announce("API keys", len(keys), total, page, size)


@app.command()
def revoke(key: Key, yes: Yes = False) -> None:
    """Delete an API key. What uses it is shut out at once."""
    confirm(f"Revoke API key {key}?", yes=yes)

    async def work(session: AsyncSession) -> str:
        from app.managers.api_key import ApiKeyManager

        found = await _find_key(session, key)
        await ApiKeyManager(session).delete(found.user_id, found.id)
        return found.name

    say(f"Revoked {key}: {in_session(work)}")


async def _find_key(session: AsyncSession, key: str) -> ApiKey:
    from sqlalchemy import select

    from app.models import ApiKey

    found = await session.scalar(select(ApiKey).where(ApiKey.prefix == key))
    if found is None and (key_id := row_id(key)) is not None:
        found = await session.get(ApiKey, key_id)
    if found is None:
        raise Refused(f"There is no API key {key}; see: api-admin keys list")
    return found
