"""`api-admin user`: accounts, by the same rules as in the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.commands.console import (
    AsJson,
    Page,
    Password,
    PasswordFromStdin,
    Size,
    Who,
    Yes,
    announce,
    ask,
    ask_password,
    confirm,
    print_json,
    print_record,
    print_table,
    say,
)
from app.commands.running import (
    change_user,
    check_email,
    check_name,
    check_password,
    find_user,
    in_session,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncSession

    from app.schemas.user import UserOut

app = typer.Typer(
    name="user",
    help="Create and look after users.",
    epilog="""[bold]Examples[/bold]

  api-admin user create --admin
  api-admin user list --search ada
  api-admin user ban ada@example.com""",
    no_args_is_help=True,
)

Email = Annotated[str | None, typer.Option(help="E-mail address, the login name.")]
FirstName = Annotated[str | None, typer.Option(help="First name.")]
LastName = Annotated[str | None, typer.Option(help="Last name.")]
Admin = Annotated[bool, typer.Option("--admin", help="Make the user an admin.")]
RevokeApiKeys = Annotated[
    bool, typer.Option("--revoke-api-keys", help="Delete the user's API keys, too.")
]
Search = Annotated[str | None, typer.Option(help="Only users that have this text.")]
Field = Annotated[
    Literal["email", "first_name", "last_name", "role"],
    typer.Option("--in", help="Where --search looks."),
]


@app.command(
    epilog="""[bold]Examples[/bold]

  api-admin user create                     asks for everything
  api-admin user create --email ada@example.com --first-name Ada \\
      --last-name Lovelace --admin --password-stdin < password.txt"""
)
def create(
    email: Email = None,
    first_name: FirstName = None,
    last_name: LastName = None,
    admin: Admin = False,
    password: Password = None,
    password_stdin: PasswordFromStdin = False,
) -> None:
    """Add a user. What no option gives is asked for."""
    answers = {
        "email": ask(email, "E-mail address", "--email", check_email),
        "first_name": ask(first_name, "First name", "--first-name", check_name),
        "last_name": ask(last_name, "Last name", "--last-name", check_name),
        "password": ask_password(password, check_password, from_stdin=password_stdin),
    }

    async def work(session: AsyncSession) -> UserOut:
        from app.managers.user import UserManager
        from app.models import Role
        from app.schemas.auth import Registration
        from app.schemas.user import UserOut

        role = Role.admin if admin else Role.user
        registration = Registration.model_validate(answers)
        user = await UserManager(session).create(registration, role=role)
        return UserOut.model_validate(user)

    user = in_session(work)
    say(f"Created {user.role} {user.id}: {user.email}")


@app.command(
    "list",
    epilog="""[bold]Examples[/bold]

  api-admin user list --page 2 --size 100
  api-admin user list --search lovelace --in last_name
  api-admin user list --search admin --in role --json""",
)
def list_users(
    page: Page = 1,
    size: Size = 50,
    search: Search = None,
    field: Field = "email",
    as_json: AsJson = False,
) -> None:
    """List users, oldest first, page by page."""

    async def work(session: AsyncSession) -> tuple[list[UserOut], int]:
        from app.managers.user import UserManager
        from app.schemas.user import SearchField, UserOut

        users = UserManager(session)
        if search is None:
            rows, total = await users.list(page, size)
        else:
            rows, total = await users.search(SearchField(field), search, page, size)
        return [UserOut.model_validate(row) for row in rows], total

    users, total = in_session(work)
    if as_json:
        print_json([user.model_dump(mode="json") for user in users])
    elif users:
        print_table(
            ["Id", "E-mail", "Name", "Role", "Banned", "Created"],
            (
                (
                    user.id,
                    user.email,
                    f"{user.first_name} {user.last_name}",
                    user.role,
                    user.banned,
                    user.created_at.date(),
                )
                for user in users
            ),
        )
    elif not total and search is None:
        say("No users yet. Add the first with: api-admin user create --admin")
    elif not total:
        say(f"No user has {search!r} in {field}")
    announce("users", len(users), total, page, size)


@app.command()
def show(who: Who, as_json: AsJson = False) -> None:
    """Show one user."""

    async def work(session: AsyncSession) -> UserOut:
        from app.schemas.user import UserOut

        return UserOut.model_validate(await find_user(session, who))

    user = in_session(work)
    if as_json:
        print_json(user.model_dump(mode="json"))
    else:
        print_record((name.replace("_", " "), value) for name, value in user)


@app.command()
def ban(who: Who) -> None:
    """Shut a user out. All sessions end at once, API keys stop working."""
    email = change_user(who, lambda users, user_id: users.ban(user_id))
    say(f"Banned {email}. To let the user in again: api-admin user unban {email}")


@app.command()
def unban(who: Who) -> None:
    """Let a banned user in again."""
    email = change_user(who, lambda users, user_id: users.unban(user_id))
    say(f"{email} may log in again")


@app.command()
def admin(who: Who) -> None:
    """Make a user an admin."""
    email = change_user(who, lambda users, user_id: users.make_admin(user_id))
    say(f"{email} is an admin")


@app.command()
def demote(who: Who) -> None:
    """Make an admin a user like others. The last admin stays one."""
    email = change_user(who, lambda users, user_id: users.demote(user_id))
    say(f"{email} is no admin")


@app.command()
def delete(who: Who, yes: Yes = False) -> None:
    """Delete a user with all sessions and API keys. This cannot be undone."""
    confirm(f"Delete user {who} with all sessions and API keys?", yes=yes)
    email = change_user(who, lambda users, user_id: users.delete(user_id))
    say(f"Deleted {email}")


@app.command(
    epilog="""[bold]Examples[/bold]

  api-admin user password ada@example.com
  api-admin user password 1 --password-stdin < password.txt"""
)
def password(
    who: Who,
    password: Password = None,
    password_stdin: PasswordFromStdin = False,
    revoke_api_keys: RevokeApiKeys = False,
) -> None:
    """Give a user a new password. All sessions of the user end."""
    from app.schemas.user import PasswordChange

    new = ask_password(password, check_password, from_stdin=password_stdin)
    new = PasswordChange(password=new).password  # what a login would refuse, refused
    email = change_user(
        who,
        lambda users, user_id: users.set_password(
            user_id, new, revoke_api_keys=revoke_api_keys
        ),
    )
    say(f"{email} has a new password{', and no API keys' * revoke_api_keys}")


# Made-up users, to see how lists and searches behave with many of them

CHUNK = 5_000

# 37 and 41 have no common divisor: all 1517 pairs come up before one returns.
_FIRST = """
    Ada Alan Amina Anders Barbara Carlos Chen Dorothy Edsger Elena Emil Farah Frances
    Grace Hana Hedy Ines Ivan Jamal Joan Karen Kenji Leila Linus Margaret Mateo Mei
    Nadia Niklaus Olga Priya Radia Rosa Samuel Sofia Tim Yusuf
"""
_LAST = """
    Adeyemi Allen Andersen Bartik Becker Bianchi Clarke Costa Dijkstra Dubois Eriksson
    Fernandez Fischer Garcia Goldberg Haddad Hamilton Hopper Ivanova Jensen Johnson Kahn
    Kim Kowalski Lamarr Liskov Lovelace Mbeki Moreau Nakamura Novak Okafor Perlman Rossi
    Santos Schmidt Silva Tanaka Turing Wirth Zhang
"""
FIRST_NAMES = _FIRST.split()
LAST_NAMES = _LAST.split()


async def add_users(
    session: AsyncSession,
    count: int,
    password: str,
    progress: Callable[[int], None],
) -> None:
    """Add `count` users in bulk; `progress` is called with the number added so far.

    All share one hash of `password`, because hashing is slow on purpose. Numbers in the
    addresses go on from the highest id, so that a second run finds no address taken.
    """
    from sqlalchemy import func, insert, select

    from app.managers.passwords import hash_password
    from app.models import User

    password_hash = await hash_password(password)
    start = (await session.scalar(select(func.max(User.id))) or 0) + 1
    for first in range(start, start + count, CHUNK):
        numbers = range(first, min(first + CHUNK, start + count))
        people = [
            person(number) | {"password_hash": password_hash} for number in numbers
        ]
        await session.execute(insert(User), people)
        progress(numbers.stop - start)


def person(number: int) -> dict[str, str]:
    """The name and address of made-up user `number`; the same each time."""
    first = FIRST_NAMES[number % len(FIRST_NAMES)]
    last = LAST_NAMES[number % len(LAST_NAMES)]
    return {
        "email": f"{first}.{last}.{number}@example.com".lower(),
        "first_name": first,
        "last_name": last,
    }
