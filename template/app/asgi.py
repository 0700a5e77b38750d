"""The application itself, for servers that take no factory, such as `fastapi run`."""

from app.main import create_app

app = create_app()
