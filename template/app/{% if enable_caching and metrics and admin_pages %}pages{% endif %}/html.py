"""Pages from `templates/`, and what each of them tells the browser."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from app.pages import figures

# Only files of our own, nothing inline, and no other page may frame or be sent to.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(figures.FILTERS)


def page(request: Request, name: str, status: int = 200, **about: Any) -> HTMLResponse:
    """Return a page that is kept nowhere."""
    text = _templates.get_template(name).render(
        about, title=request.app.title, root=root_of(request)
    )
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": POLICY,
        # With "no-referrer", browsers would not say whose page a form comes from.
        "Referrer-Policy": "same-origin",
    }
    return HTMLResponse(text, status, headers)


def root_of(request: Request) -> str:
    """Return what stands before the paths of all pages, as in /api/admin."""
    above: str = request.scope.get("app_root_path", "")
    return f"{above.rstrip('/')}/admin"
