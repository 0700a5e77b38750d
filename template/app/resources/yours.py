"""Your routes, after those of the template. No update changes this file.

`api-admin new` adds to it. By hand: import a module of this folder, include its router.
"""

from fastapi import APIRouter

router = APIRouter()
