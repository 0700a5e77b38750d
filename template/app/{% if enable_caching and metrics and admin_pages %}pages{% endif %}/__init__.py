"""Pages for admins, below /admin: how the cache does, and buttons for it.

They are made here and work without JavaScript. `session.py` has who gets in, `forms.py`
what a form has to show, `html.py` what each page tells the browser.
"""

from app.pages.setup import install_pages, pages_lifespan

__all__ = ["install_pages", "pages_lifespan"]
