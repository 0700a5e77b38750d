from collections.abc import Callable, Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, status

from app.cache import cached
from app.database import SessionDep
from app.errors import Conflict, NotFound
from app.managers.note import NoteManager
from app.openapi import problems
from app.resources.dependencies import ProfileReader
from app.schemas.note import NoteCreate, NoteId, NoteOut

router = APIRouter(prefix="/notes", tags=["notes"])


def _notes(request: Request, session: SessionDep, user: ProfileReader) -> NoteManager:
    return NoteManager(session, request.app.state.settings, user.id)


Notes = Annotated[NoteManager, Depends(_notes)]


def notes_key_builder(
    func: Callable[..., Any], namespace: str, *, request: Request, **_: Any
) -> str:
    """Key of the notes of who asks: {namespace}:{user_id}:{func_name}."""
    return f"{namespace}:{request.state.principal.user_id}:{func.__name__}"


@router.get("", summary="List my notes", response_model=list[NoteOut])
@cached(expire=600, namespace="notes", key_builder=notes_key_builder)
async def list_notes(notes: Notes) -> Sequence[NoteOut]:
    """All notes of the user who asks, oldest first."""
    return await notes.list()


def words_key_builder(
    func: Callable[..., Any], namespace: str, *, request: Request, **_: Any
) -> str:
    """Key of a count: {namespace}:{user_id}:{func_name}:{note_id}:{word}."""
    start = notes_key_builder(func, namespace, request=request)
    note_id, word = (request.path_params[name] for name in ("note_id", "word"))
    return f"{start}:{note_id}:{quote(word, safe='')}"


@router.get("/{note_id}/words/{word}", responses=problems(NotFound))
@cached(expire=600, namespace="notes", key_builder=words_key_builder)
async def count_words(note_id: NoteId, word: str, notes: Notes) -> int:
    """How often a word is in a note of the user who asks. In none of the tables."""
    return (await notes.get(note_id)).text.split().count(word)


@router.post(
    "",
    summary="Write a note",
    status_code=status.HTTP_201_CREATED,
    responses=problems(Conflict),
)
async def create_note(data: NoteCreate, notes: Notes) -> NoteOut:
    """Add a note of the user who asks."""
    return await notes.create(data)


@router.delete(
    "/{note_id}",
    summary="Delete one of my notes",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(NotFound),
)
async def delete_note(note_id: NoteId, notes: Notes) -> None:
    """Delete a note of the user who asks."""
    await notes.delete(note_id)
