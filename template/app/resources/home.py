from fastapi import APIRouter, Request

from app.docs import DOCS_URL
from app.resources.dependencies import ANYONE
from app.schemas.health import Home

router = APIRouter(tags=["health"], dependencies=[ANYONE])


@router.get("/", summary="What this is")
async def home(request: Request) -> Home:
    app = request.app
    docs = DOCS_URL if app.state.settings.serves_docs else None
    return Home(name=app.title, version=app.version, docs=docs)
