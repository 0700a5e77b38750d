"""Where in a long list a page is."""

from app.commands.console import hint
from app.commands.refusals import Refused


def announce(things: str, shown: int, total: int, page: int, size: int) -> None:
    """Say on stderr which part of the list this is, unless it is all of it."""
    pages = -(-total // size)
    if page > max(pages, 1):
        raise Refused(f"There is no page {page:,}: {total:,} {things} fill {pages:,}")
    if total <= size:
        return
    first = (page - 1) * size + 1
    line = f"Showing {first:,} to {first + shown - 1:,} of {total:,} {things}"
    hint(f"{line}. Next: --page {page + 1}" if page < pages else line)
