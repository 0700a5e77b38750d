"""The routes."""

from fastapi import APIRouter

from app.resources import api_key, auth, health, home, user

api_router = APIRouter()
# Before the users: /users/keys is not the user whose id is "keys".
for resource in (home, health, auth, api_key, user):
    api_router.include_router(resource.router)
