"""What a browser is shown first, and the pages /docs and /redoc.

They are as FastAPI has them, without scripts of other hosts.
"""

import re
from base64 import b64encode
from hashlib import sha256

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import (
    get_redoc_html,
    get_swagger_ui_html,
    get_swagger_ui_oauth2_redirect_html,
)
from starlette.staticfiles import StaticFiles

from app.resources.dependencies import ANYONE
from app.schemas.health import Home

DOCS_URL = "/docs"
REDOC_URL = "/redoc"
OAUTH2_REDIRECT_URL = f"{DOCS_URL}/oauth2-redirect"

router = APIRouter(tags=["health"], dependencies=[ANYONE])


@router.get("/", summary="What this is")
async def home(request: Request) -> Home:
    app = request.app
    docs = DOCS_URL if app.state.settings.serves_docs else None
    return Home(name=app.title, version=app.version, docs=docs)


def serve_docs(app: FastAPI) -> None:
    """Add the pages to an application that was made with `docs_url=None`."""
    # Of the wheel only its files are used: its class replaces functions of FastAPI,
    # also for the applications that are mounted in this one.
    static = StaticFiles(packages=[("fastapi_standalone_docs", "static")])

    async def docs(request: Request) -> Response:
        root = _root_path(request)
        page = get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=f"{app.title} - Swagger UI",
            swagger_js_url=f"{root}{DOCS_URL}/swagger/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{DOCS_URL}/swagger/swagger-ui.css",
            swagger_favicon_url=f"{root}{DOCS_URL}/fastapi/favicon.png",
            oauth2_redirect_url=f"{root}{OAUTH2_REDIRECT_URL}",
            init_oauth=app.swagger_ui_init_oauth,
            swagger_ui_parameters=app.swagger_ui_parameters,
        )
        return _restricted(page)

    async def redoc(request: Request) -> Response:
        root = _root_path(request)
        page = get_redoc_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=f"{app.title} - ReDoc",
            redoc_js_url=f"{root}{DOCS_URL}/redoc/redoc.standalone.js",
            redoc_favicon_url=f"{root}{DOCS_URL}/fastapi/favicon.png",
            with_google_fonts=False,
        )
        return _restricted(page)

    async def oauth2_redirect(_: Request) -> Response:
        return _restricted(get_swagger_ui_oauth2_redirect_html())

    async def file(request: Request) -> Response:
        # The wheel makes ReDoc look for its logo below its page.
        folder = request.path_params.get("folder", "redoc")
        name = request.path_params["file"]
        response = await static.get_response(f"{folder}/{name}", request.scope)
        # The browser keeps it, and asks whether an update brought another one.
        response.headers["Cache-Control"] = "no-cache"
        return response

    for path, page in {
        DOCS_URL: docs,
        OAUTH2_REDIRECT_URL: oauth2_redirect,
        DOCS_URL + "/{folder}/{file}": file,
        REDOC_URL: redoc,
        REDOC_URL + "/{file}": file,
    }.items():
        app.add_route(path, page, include_in_schema=False)


def _restricted(page: Response) -> Response:
    """Let the page run its own scripts only, those in it and those of the service."""
    scripts = re.findall(rb"<script[^>]*>(.*?)</script>", bytes(page.body), re.S)
    digests = [
        b64encode(sha256(script).digest()).decode() for script in scripts if script
    ]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    page.headers["Content-Security-Policy"] = (
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline';"
        f" script-src 'self' {allowed}; worker-src 'self' blob:; frame-ancestors 'none'"
    )
    return page


def _root_path(request: Request) -> str:
    root_path: str = request.scope.get("root_path", "")
    return root_path.rstrip("/")
