from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

PAGES = Path(__file__).parents[1] / "pages"

router = APIRouter(include_in_schema=False)


@router.get("/index.html", response_class=HTMLResponse)
async def index() -> str:
    return (PAGES / "index.html").read_text("utf-8")
