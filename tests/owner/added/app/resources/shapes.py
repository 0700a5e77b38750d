"""Routes of the shapes that the notes do not have."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import (
    APIRouter,
    BackgroundTasks,
    Depends,
    FastAPI,
    UploadFile,
    WebSocket,
)
from fastapi.responses import StreamingResponse
from fastapi.security import APIKeyHeader

from app.errors import Forbidden
from app.logs import DATABASE
from app.managers.auth import AuthManager, CurrentUser
from app.models import User
from app.resources.dependencies import ANYONE

router = APIRouter(prefix="/shapes", tags=["shapes"])

Signature = Annotated[str, Depends(APIKeyHeader(name="X-Signature"))]
ShapesReader = Annotated[User, Depends(AuthManager("shapes:read"))]


def _signed(signature: Signature) -> None:
    if signature != "ours":
        raise Forbidden


@router.post("/webhook", dependencies=[Depends(_signed)])
async def webhook() -> str:
    return "seen"


@router.get("/scoped")
async def scoped(user: ShapesReader) -> int:
    return user.id


@router.get("/closed")
async def closed(user: CurrentUser) -> str:
    return user.email


@router.get("/admins", dependencies=[Depends(AuthManager("users:read", admin=True))])
async def admins() -> list[str]:
    return []


@router.post("/upload", dependencies=[Depends(AuthManager("profile:write"))])
async def upload(file: UploadFile) -> int:
    return len(await file.read())


@router.get("/stream", dependencies=[ANYONE])
async def stream() -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        for number in range(3):
            yield f"{number}\n"

    return StreamingResponse(lines())


@router.post("/later", dependencies=[Depends(AuthManager("profile:write"))])
async def later(tasks: BackgroundTasks) -> None:
    tasks.add_task(DATABASE.info, "done later")


@router.websocket("/websocket", dependencies=[ANYONE])
async def websocket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


mounted = FastAPI(dependencies=[ANYONE])


@mounted.get("/{thing}")
async def below(thing: str) -> str:
    return thing
