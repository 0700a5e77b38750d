"""Which request a line of the log belongs to."""

from contextvars import ContextVar

# Empty outside a request. Threads and tasks that a request starts have it, too.
request_id: ContextVar[str] = ContextVar("request_id", default="")
