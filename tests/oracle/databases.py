"""A database for every scenario: a copy of one with people and rows in it."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from app.config import Settings, get_settings

POSTGRESQL = os.environ.get("ORACLE_POSTGRESQL", "")  # URL of a database of the server


class Databases:
    """Files in a folder, or databases of a PostgreSQL server; `owner` is in names."""

    def __init__(self, folder: Path, owner: str) -> None:
        self.folder = folder
        self.owner = owner

    def people(self) -> list[dict[str, Any]]:
        """For each application: ids and tokens by name."""
        found: list[dict[str, Any]] = json.loads(
            (self.folder / "people.json").read_text()
        )
        return found

    def settings(self, name: str, **changes: str) -> Settings:
        url = f"sqlite+aiosqlite:///{self.folder / name}.db"
        if POSTGRESQL:
            url = f"{POSTGRESQL.rpartition('/')[0]}/{name}"
        os.environ.update({"DATABASE_URL": url} | changes)
        get_settings.cache_clear()
        return get_settings()

    async def create(self, name: str) -> None:
        if POSTGRESQL:
            await _execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            await _execute(f"CREATE DATABASE {name} TEMPLATE template0")

    async def copies(self, number: int) -> list[Settings]:
        made: list[Settings] = []
        for site in "ab"[:number][::-1]:  # the first one's are the process's settings
            base, name = f"oracle_base_{site}", f"oracle_{self.owner}_{site}"
            if POSTGRESQL:
                await _execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
                await _execute(f"CREATE DATABASE {name} TEMPLATE {base}")
            else:
                for old in self.folder.glob(f"{name}.db*"):
                    old.unlink()
                shutil.copy(self.folder / f"{base}.db", self.folder / f"{name}.db")
            made.insert(0, self.settings(name, CACHE_PREFIX=f"o{os.getpid()}{site}"))
        return made


async def _execute(statement: str) -> None:
    engine = create_async_engine(POSTGRESQL, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()
