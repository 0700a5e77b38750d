"""The real servers that the tests use; each module here is a pytest plugin."""

import socket


def free_port() -> int:
    """Return a TCP port of the loopback address at which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
