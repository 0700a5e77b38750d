"""Fill the database of a rendered service, and print a path with an API key per user.

Run in the rendered project; the argument is the number of users, the first of whom is
an admin. Passwords are not set: nobody logs in but the first one, by his token.
"""

import asyncio
import sys

from app.config import get_settings
from app.database import Database
from app.managers.api_key import ApiKeyManager
from app.managers.auth_session import AuthSessionManager
from app.models.user import Role, User
from app.schemas.api_key import ApiKeyCreate

KEYS = 10  # of each of the first 50 users; the others have one


async def main(users: int) -> None:
    settings = get_settings()
    database = Database(settings)
    async with database.session() as session:
        people = [
            User(
                email=f"person{number}@example.com",
                password_hash="",
                first_name=f"First{number}",
                last_name=f"Last{number}",
                role=Role.user if number else Role.admin,
            )
            for number in range(users)
        ]
        session.add_all(people)
        await session.flush()
        keys = ApiKeyManager(session, settings)
        for number, user in enumerate(people):
            for _ in range(KEYS if number < 50 else 1):
                _, text = await keys.create(user.id, ApiKeyCreate(name="a key"))
            print("/users/me", text)
        tokens = await AuthSessionManager(session, settings).start(people[0].id)
        print("token", tokens.token)
    await database.dispose()


asyncio.run(main(int(sys.argv[1])))
