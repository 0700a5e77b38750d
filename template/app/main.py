"""The application: `uvicorn --factory app.main:create_app` or `api-admin serve`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from app.cache import cache_lifespan, install_cache
from app.config import Settings, get_settings
from app.database import Database
from app.errors import install_error_handlers
from app.logs import configure_logs
from app.resources import api_router


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return a service of its own, with its own database and settings."""
    settings = settings or get_settings()
    configure_logs(settings.log_level, frozenset(settings.log_categories))
    app = FastAPI(
        title=settings.api_title,
        description=settings.api_description,
        version=settings.version,
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.database = Database(settings)
    install_error_handlers(app)
    install_cache(app, settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
        )
    app.include_router(api_router)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    database: Database = app.state.database
    try:
        async with cache_lifespan(app, app.state.settings):
            yield
    finally:
        await database.dispose()
