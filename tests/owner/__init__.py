"""What an owner does to a service: new files, and edits of rendered ones.

`added/` holds the files. The edits are made in each variant in the same way, so that
an updated service has to equal a fresh one that was then edited.
"""

import shutil
from pathlib import Path

from harness import Project

ADDED = Path(__file__).parent / "added"

SECTION = """
# --- Notes ----------------------------------------------------------------------

# Colour of the notes.
# Default: yellow
NOTES_COLOR=yellow
"""

# A setting of the owner's own, in its own class, which sorts where the settings of a
# cache would be.
NOTES_SETTINGS = """\
from pydantic import Field
from pydantic_settings import BaseSettings


class NoteSettings(BaseSettings):
    notes_color: str = Field(default="yellow", description="Colour of the notes")
"""


def work(project: Project) -> None:
    """Add a feature, and change what the service does."""
    shutil.copytree(
        ADDED,
        project.path,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    file = project.path
    # The feature is known where the service wants to know of it.
    models = file / "app/models/__init__.py"
    after(models, "from app.models.auth_session ", "from app.models.note import Note")
    replace(models, '"AuthSession", "Role"', '"AuthSession", "Note", "Role"')
    rules = file / "app/models/cache_rules.py"
    after(rules, "from app.models.auth_session ", "from app.models.note import Note")
    append(rules, 'touches(Note, "notes:{user_id}")\n')
    routes = file / "app/resources/__init__.py"
    replace(routes, "home, user\n", "home, note, pages, shapes, user\n")
    replace(routes, "api_key, user)", "api_key, user, note, pages, shapes)")
    after(file / "app/managers/scopes.py", '    "users:write",', '    "shapes:read",')
    main = file / "app/main.py"
    replace(
        main,
        "    app.include_router(api_router)\n",
        '    app.include_router(api_router)\n    app.mount("/below", shapes.mounted)\n',
    )
    replace(
        main,
        "from app.resources import api_router",
        "from app.resources import api_router, shapes",
    )
    access = file / "tests/test_access.py"
    after(
        access,
        '    "POST /users/{user_id}/password"',
        '    "GET /notes": Rule("user", "profile:read"),',
        '    "POST /notes": Rule("user", "profile:read"),',
        '    "DELETE /notes/{note_id}": Rule("user", "profile:read"),',
        '    "GET /index.html": ANYONE,',
    )
    replace(access, "key_id=NOBODY)", "key_id=NOBODY, note_id=NOBODY)")
    after(
        file / "tests/test_openapi.py",
        '    "users_change_password"',
        '    "notes_list_notes": "GET /notes",',
        '    "notes_create_note": "POST /notes",',
        '    "notes_delete_note": "DELETE /notes/{note_id}",',
    )
    # A route, a default and a line of the log are changed.
    users = file / "app/resources/user.py"
    replace(
        users,
        "= None,\n    page: PageNumber = 1,\n    size: PageSize = 50",
        "= None,\n    page: PageNumber = 1,\n    size: PageSize = 20",
    )
    replace(users, '(namespace="user",', '(expire=60, namespace="user",')
    replace(file / "app/config/auth.py", "default=900,", "default=1800,")
    replace(file / "app/managers/user.py", 'is banned"', 'may not come back"')
    # A setting, which is also in both files of settings; a dependency; a version.
    after(
        file / "app/config/settings.py",
        '        description="What the service does, in its documentation"',
        "    )",
        "    notes_per_user: int = Field(",
        '        default=3, ge=1, description="How many notes a user may have"',
    )
    for name in (".env", ".env.example"):
        after(
            file / name,
            "CORS_ORIGINS=",
            "",
            "# How many notes a user may have, 1 or more.",
            "# Default: 3",
            "NOTES_PER_USER=3",
        )
    replace(
        file / ".env.example",
        "# Default: 900\nACCESS_TOKEN_TTL=900",
        "# Default: 1800\nACCESS_TOKEN_TTL=1800",
    )
    replace(file / ".env", "ACCESS_TOKEN_TTL=900", "ACCESS_TOKEN_TTL=600")
    metadata = file / "pyproject.toml"
    added = ('    "python-multipart>=0.0.20",', '    "segno>=1.6",')
    after(metadata, '    "rich>=', *added)
    replace(metadata, '\nversion = "0.1.0"', '\nversion = "2.3.0"')
    after(file / "README.md", "Sells", "", "It also keeps notes.")


def work_in_tight_places(project: Project) -> None:
    """Add where the template adds, too, when the cache or the database is switched."""
    file = project.path
    (file / "app/config/note.py").write_text(NOTES_SETTINGS, "utf-8")
    settings = file / "app/config/settings.py"
    after(
        settings, "from app.config.logging ", "from app.config.note import NoteSettings"
    )
    replace(settings, "\n):\n", "\n    NoteSettings,\n):\n")
    for name in (".env", ".env.example"):
        append(file / name, SECTION)


def after(path: Path, start: str, *lines: str) -> None:
    """Add lines after the one that starts like this."""
    old = path.read_text("utf-8").splitlines()
    (place,) = [n for n, line in enumerate(old) if line.startswith(start)]
    old[place + 1 : place + 1] = lines
    path.write_text("\n".join(old) + "\n", "utf-8")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert text.count(old) == 1, f"{path.name} has {text.count(old)} times {old!r}"
    path.write_text(text.replace(old, new), "utf-8")


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text("utf-8") + text, "utf-8")
