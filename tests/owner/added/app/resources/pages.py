from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from app.resources.dependencies import ANYONE

PAGES = Path(__file__).parents[1] / "pages"

router = APIRouter(include_in_schema=False, dependencies=[ANYONE])


@router.get("/index.html", response_class=HTMLResponse)
async def index() -> str:
    return (PAGES / "index.html").read_text("utf-8")
