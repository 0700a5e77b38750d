from fastapi import APIRouter, Request

from app.docs import DOCS_URL
from app.resources.dependencies import ANYONE
from app.schemas.home import Home

router = APIRouter(tags=["health"], dependencies=[ANYONE])


@router.get("/", summary="What this is")
async def home(request: Request) -> Home:
    app = request.app
    return Home(name=app.title, version=app.version, docs=DOCS_URL)
