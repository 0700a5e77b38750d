"""Pages for admins, below /admin: how the cache does, and buttons for it.

They are made here and work without JavaScript. `session.py` has who gets in and what a
form has to show, `html.py` what each page tells the browser. There are none while the
cache is off.
"""

from typing import TYPE_CHECKING

from app.cache.off import is_on

if TYPE_CHECKING or is_on():
    from app.pages.setup import install_pages, pages_lifespan
else:
    from contextlib import nullcontext

    def install_pages(_: object) -> None: ...

    def pages_lifespan(_: object) -> nullcontext[None]:
        return nullcontext()


__all__ = ["install_pages", "pages_lifespan"]
