"""Pages from `templates/`: what each tells the browser; numbers as people read them."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

# Only files of our own, nothing inline, and no other page may frame or be sent to.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


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


def number(value: float) -> str:
    """As in 1,234."""
    return f"{value:,.0f}"


def count(value: float) -> str:
    """The same; a dash for none, so that a table shows where there is something."""
    return number(value) if value else "–"


def seconds(value: float | None) -> str:
    """As in 0.8 ms, 12.3 s or 3.2 h; a dash where there is none."""
    if value is None:
        return "–"
    size = abs(value)
    for least, factor, unit in ((7200, 1 / 3600, "h"), (120, 1 / 60, "min")):
        if size >= least:
            return f"{value * factor:,.1f} {unit}"
    return f"{value:.1f} s" if size >= 1 else f"{value * 1000:.1f} ms"


def share(value: float | None) -> str:
    """As in 97.3 %."""
    return "–" if value is None else f"{value * 100:.1f} %"


def size(value: float) -> str:
    """As in 1.5 MB."""
    for least, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= least:
            return f"{value / least:.1f} {unit}"
    return f"{value:.0f} B"


def clock(value: float) -> str:
    """As in 14:23:45, in UTC."""
    return f"{datetime.fromtimestamp(value, UTC):%H:%M:%S}"


def iso(value: float) -> str:
    """As in 2026-01-02T14:23:45+00:00."""
    return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")


FILTERS: dict[str, Callable[[Any], str]] = {
    "clock": clock,
    "count": count,
    "iso": iso,
    "number": number,
    "seconds": seconds,
    "share": share,
    "size": size,
}

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(FILTERS)
