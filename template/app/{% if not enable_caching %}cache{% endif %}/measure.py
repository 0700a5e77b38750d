"""`api-admin routes --measure`, in a service without a cache."""

from collections.abc import Sequence

from app.commands.refusals import Refused


def measure_routes(
    text: str, urls: Sequence[str], who: str | None, *, as_json: bool
) -> None:
    """Raises Refused, always."""
    raise Refused("This service has no cache, so there is no hit to measure.")
