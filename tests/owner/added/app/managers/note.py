from collections.abc import Sequence

import segno
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.config import Settings
from app.errors import Conflict, NotFound
from app.logs import DATABASE
from app.models.note import Note
from app.schemas.note import NoteCreate, NoteOut


class NoteManager:
    """Reads and changes the notes of one user."""

    def __init__(self, session: AsyncSession, settings: Settings, user_id: int) -> None:
        self.session = session
        self.settings = settings
        self.user_id = user_id

    async def list(self) -> Sequence[NoteOut]:
        mine = select(Note).where(Note.user_id == self.user_id).order_by(Note.id)
        return [_shown(note) for note in await self.session.scalars(mine)]

    async def get(self, note_id: int) -> Note:
        """Raises `NotFound`, also for another user's note."""
        mine = select(Note).where(Note.id == note_id, Note.user_id == self.user_id)
        note = await self.session.scalar(mine)
        if note is None:
            raise NotFound("There is no such note.", code="note_not_found")
        return note

    async def create(self, data: NoteCreate) -> NoteOut:
        """Raises `Conflict` if the user has as many as NOTES_PER_USER says."""
        count = select(func.count()).where(Note.user_id == self.user_id)
        if (await self.session.scalar(count) or 0) >= self.settings.notes_per_user:
            raise Conflict("You have too many notes.", code="too_many_notes")
        note = Note(user_id=self.user_id, text=data.text)
        self.session.add(note)
        await self.session.flush()
        DATABASE.info("user %s has a new note, %s", self.user_id, note.id)
        return _shown(note)

    async def delete(self, note_id: int) -> None:
        """Raises `NotFound`, also for another user's note."""
        await self.session.delete(await self.get(note_id))


def _shown(note: Note) -> NoteOut:
    code = segno.make(note.text, micro=False).svg_data_uri()
    return NoteOut(id=note.id, text=note.text, created_at=note.created_at, code=code)
