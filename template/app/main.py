"""The application: `uvicorn --factory app.main:create_app` or `api-admin serve`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

import app.resources.yours as yours
from app.cache import cache_lifespan, install_cache
from app.config import Settings, get_settings
from app.database import Database
from app.database.ready import require_ready
from app.database.streams import check_streams
from app.docs import serve_docs
from app.errors import install_error_handlers
from app.logs import configure_logs
from app.managers.last_use import LastUse, last_use_recorder
from app.metrics import install_metrics, metrics_lifespan
from app.middleware import AllowedHosts, RequestLog, RootPath, StartupLine
from app.openapi import describe_problems, operation_id
from app.resources import api_router

# Bytes. A route that takes files can allow more: max_body_size of its decorator.
MAX_BODY_SIZE = 1_048_576

api_router.include_router(yours.router)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return a service of its own, with its own database and settings."""
    settings = settings or get_settings()
    configure_logs(settings.log_level, settings.log_categories)
    app = FastAPI(
        title=settings.api_title,
        description=settings.api_description,
        version=settings.version,
        docs_url=None,  # see serve_docs
        redoc_url=None,
        lifespan=lifespan,
        generate_unique_id_function=operation_id,
        max_body_size=MAX_BODY_SIZE,
    )
    app.state.settings = settings
    app.state.database = Database(settings)
    app.state.last_use = LastUse()
    install_error_handlers(app)
    describe_problems(app)
    # The middleware added last is the outermost.
    install_cache(app, settings)
    app.add_middleware(RequestLog)
    install_metrics(app, settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["*"],
        )
    if settings.root_path:
        app.add_middleware(RootPath, root_path=settings.root_path)
    if settings.allowed_hosts:
        app.add_middleware(
            AllowedHosts, allowed_hosts=settings.allowed_hosts, www_redirect=False
        )
    app.add_middleware(StartupLine)
    serve_docs(app)
    app.include_router(api_router)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    database: Database = app.state.database
    try:
        check_streams(app)
        revision = await require_ready(database)
        async with (
            cache_lifespan(app, app.state.settings, revision),
            last_use_recorder(app),
            metrics_lifespan(app),
        ):
            yield
    finally:
        await database.dispose()
