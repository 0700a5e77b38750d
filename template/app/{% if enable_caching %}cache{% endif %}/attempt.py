"""One call of a cached function: answered from the cache, or to be run."""

from typing import Any, Self


class Attempt:
    """A call that is run without the cache, and the base of those that use it."""

    found = False
    value: Any = None

    @classmethod
    def of(cls, value: object) -> Self:
        """Return an attempt that is answered already."""
        attempt = cls()
        attempt.found = True
        attempt.value = value
        return attempt

    async def finish(self, result: Any) -> Any:
        """Take the function's result; return what the caller is given."""
        return result

    async def fail(self, *, cancelled: bool) -> None:
        """Take note that the function raised, or was cancelled."""
