"""The routes."""

from fastapi import APIRouter

from app.resources import health, home

api_router = APIRouter()
for resource in (home, health):
    api_router.include_router(resource.router)
