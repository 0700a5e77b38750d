import httpx

from app.config import Settings


class TestHome:
    async def test_says_what_answers_and_where_its_docs_are(
        self, client: httpx.AsyncClient, settings: Settings
    ) -> None:
        response = await client.get("/")
        assert response.status_code == 200
        assert response.json() == {
            "name": settings.api_title,
            "version": settings.version,
            "docs": "/docs",
        }

    async def test_docs_are_served(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/docs")
        assert response.status_code == 200
        assert "openapi.json" in response.text
