"""What a browser does with the pages, without running their script."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Self

import httpx

from tests.people import Person

Row = list[str]


class Page(HTMLParser):
    """The texts of a page, its forms' token, and its tables by the id of their rows.

    Where a cell has an exact number beside what is shown, it is that.
    """

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__()
        self.csrf = ""
        self.texts: list[str] = []
        self.tables: dict[str, list[Row]] = {}
        self.figures: dict[str, float] = {}
        self._rows: list[Row] = []
        self._term = self._inside = ""
        self._exact: str | None = None
        self.feed(answer.text)

    def handle_starttag(self, tag: str, given: list[tuple[str, str | None]]) -> None:
        about = dict(given)
        self._inside = tag
        if about.get("name") == "csrf":
            self.csrf = about["value"] or ""
        elif tag == "tbody":
            self._rows = self.tables.setdefault(about.get("id") or "", [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th") and self._rows:
            self._rows[-1].append("")
        elif tag == "data":
            self._exact = about["value"] or ""
            if self._term:
                self.figures[self._term] = float(self._exact)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("data", "dd"):
            self._exact, self._term = None, ""
        elif tag == "tbody":
            self._rows = []

    def handle_data(self, data: str) -> None:
        text = data.strip()
        if not text:
            return
        self.texts.append(text)
        if self._inside == "dt":
            self._term = text
        if self._rows and self._rows[-1]:
            self._rows[-1][-1] += text if self._exact is None else self._exact

    @property
    def text(self) -> str:
        return " ".join(self.texts)


@dataclass
class Browser:
    """Follows no redirect by itself; sends what browsers send with a form."""

    client: httpx.AsyncClient
    headers: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path)

    async def post(
        self, path: str, fields: dict[str, str], **headers: str
    ) -> httpx.Response:
        own = str(self.client.base_url).rstrip("/")
        sent = {"Origin": own} | {n.title(): v for n, v in headers.items()}
        return await self.client.post(path, data=fields, headers=sent)

    async def log_in(self, person: Person, following: str = "") -> httpx.Response:
        path = f"/admin/login{following}"
        csrf = Page(await self.get(path)).csrf
        fields = {"csrf": csrf, "email": person.email, "password": person.password}
        return await self.post(path, fields)

    async def logged_in(self, person: Person) -> Self:
        answer = await self.log_in(person)
        assert answer.status_code == 303, answer.text
        return self

    async def cache(self) -> Page:
        answer = await self.get("/admin/cache")
        assert answer.status_code == 200, answer.text
        return Page(answer)
