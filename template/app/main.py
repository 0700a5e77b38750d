"""The application: `uvicorn --factory app.main:create_app` or `api-admin serve`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

import app.pages as pages
import app.resources.home as home
import app.resources.yours as yours
from app.cache import cache_lifespan, install_cache
from app.config import Settings, get_settings
from app.database import Database, check_streams
from app.database.migrate import require_ready
from app.errors import install_error_handlers
from app.limits import install_limits, limits_lifespan
from app.logs import SERVER, configure_logs, telemetry, trace_libraries
from app.managers.api_key import LastUse, last_use_recorder
from app.metrics import install_metrics, metrics_lifespan
from app.middleware import (
    AllowedHosts,
    Bounds,
    HiddenQuery,
    RequestLog,
    ResponseHeaders,
    RootPath,
    StartupLine,
)
from app.openapi import describe_problems, operation_id
from app.resources import api_router

# Bytes. A route that takes more says so: @router.post(…, max_body_size=5_000_000).
MAX_BODY_SIZE = 16_384

api_router.include_router(yours.router)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return a service of its own, with its own database and settings."""
    settings = settings or get_settings()
    configure_logs(settings.log_level, settings.log_categories, settings.log_format)
    app = FastAPI(
        title=settings.api_title,
        description=settings.api_description,
        version=settings.version,
        openapi_url="/openapi.json" if settings.serves_docs else None,
        docs_url=None,  # see home.serve_docs
        redoc_url=None,
        lifespan=lifespan,
        generate_unique_id_function=operation_id,
        telemetry=telemetry(settings.root_path),
    )
    app.state.settings = settings
    app.state.database = Database(settings)
    app.state.last_use = LastUse()
    install_error_handlers(app)
    describe_problems(app)
    install_limits(app, settings)
    # The middleware added last is the outermost.
    install_cache(app, settings)
    app.add_middleware(Bounds, max_body_size=MAX_BODY_SIZE)
    if settings.allowed_hosts:
        app.add_middleware(AllowedHosts, names=settings.allowed_hosts)
    elif settings.environment == "production":
        SERVER.info("ALLOWED_HOSTS is empty: requests for any host are answered")
    app.add_middleware(RequestLog, proxies=settings.forwarded_allow_ips)
    install_metrics(app, settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_credentials=settings.cors_credentials,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["*"],
        )
    if settings.root_path:
        app.add_middleware(RootPath, root_path=settings.root_path)
    app.add_middleware(ResponseHeaders, hsts_max_age=settings.hsts_max_age)
    app.add_middleware(StartupLine)
    app.add_middleware(HiddenQuery)
    pages.install_pages(app)
    if settings.serves_docs:
        home.serve_docs(app)
    app.include_router(api_router)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    database: Database = app.state.database
    try:
        check_streams(app)
        trace_libraries(database.engines)
        revision = await require_ready(database)
        async with (
            cache_lifespan(app, app.state.settings, revision),
            last_use_recorder(app),
            limits_lifespan(app),
            metrics_lifespan(app),
            pages.pages_lifespan(app),
        ):
            yield
    finally:
        await database.dispose()
