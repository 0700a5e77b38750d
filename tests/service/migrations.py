"""Migrations of a test's own, beside those of the service."""

import shutil
from pathlib import Path

import pytest

from app.database import migrate

HEAD = migrate.head_revisions()[0]

REVISION = '''"""For a test"""

import sqlalchemy as sa
from alembic import op

revision = "{name}"
down_revision = "{after}"


def upgrade() -> None:
    {statements}


def downgrade() -> None:
    {undo}
'''


@pytest.fixture
def migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the folder of the migrations, which is used instead of it."""
    copy = tmp_path / "project" / "app" / "migrations"
    shutil.copytree(migrate.MIGRATIONS, copy)
    shutil.copy(migrate.MIGRATIONS.parents[1] / "pyproject.toml", copy.parents[1])
    monkeypatch.setattr(migrate, "MIGRATIONS", copy)
    return copy


def add_revision(
    migrations: Path,
    statements: str,
    name: str = "next",
    *,
    after: str = HEAD,
    undo: str = "pass",
) -> None:
    source = REVISION.format(name=name, after=after, statements=statements, undo=undo)
    (migrations / "versions" / f"{name}.py").write_text(source)


def add_table(migrations: Path, name: str) -> None:
    """Add a migration after HEAD, which makes a table; both have this name."""
    add_revision(
        migrations,
        f'op.create_table("{name}", sa.Column("id", sa.Integer(), primary_key=True))',
        name,
        undo=f'op.drop_table("{name}")',
    )
