"""A rendered service as a real process, and a person who uses it over HTTP."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from harness import Project, clean_environment

PATIENCE = 120.0  # seconds until a start counts as failed
PASSWORD = "correct horse battery staple"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def serving(project: Project, **environment: str) -> Iterator[httpx.Client]:
    """Run `api-admin serve`; yield a client when it is ready; stop it.

    It has to stop with exit code 0 and without a traceback.
    """
    port = free_port()
    log = project.path / "data" / "serve.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as output:
        server = subprocess.Popen(
            [project.path / ".venv/bin/api-admin", "serve", "--port", str(port)],
            cwd=project.path,
            env=clean_environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_until_ready(client, server)
            yield client
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0
        assert "Traceback" not in log.read_text()
    except BaseException as error:
        error.add_note(log.read_text())
        raise
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def wait_until_ready(client: httpx.Client, server: subprocess.Popen[bytes]) -> None:
    """Return as soon as the service answers; fail as soon as it has ended."""
    patience = time.monotonic() + PATIENCE
    while time.monotonic() < patience:
        assert server.poll() is None, "the service has ended"
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the service is not ready")


def walk(client: httpx.Client, project: Project, **environment: str) -> None:
    """Do once what users and admins do, over HTTP and on the command line."""
    ann = {"email": "ann@example.com", "first_name": "Ann", "last_name": "Reader"}
    answer = client.post("/register/", json=ann | {"password": PASSWORD})
    assert answer.status_code == 201, answer.text
    answer = client.post("/login/", json={"email": ann["email"], "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    bearer = {"Authorization": f"Bearer {tokens['token']}"}

    assert client.get("/users/me").status_code == 401
    for _ in range(2):  # the second one comes from the cache, if there is one
        me = client.get("/users/me", headers=bearer)
        assert me.status_code == 200, me.text
        assert ann.items() <= me.json().items()
    own = me.json()["id"]

    renamed = ann | {"last_name": "Writer"}
    answer = client.put(f"/users/{own}", headers=bearer, json=renamed)
    assert answer.status_code == 200, answer.text
    assert client.get("/users/me", headers=bearer).json()["last_name"] == "Writer"

    answer = client.post("/users/keys", headers=bearer, json={"name": "laptop"})
    assert answer.status_code == 201, answer.text
    key = {"X-API-Key": answer.json()["key"]}
    assert client.get("/users/me", headers=key).json()["id"] == own
    assert client.get("/users/", headers=key).status_code == 403

    secret = {**environment, "PASSWORD_FOR_TEST": PASSWORD}
    create = "user create --admin --email eve@example.com --first-name Eve"
    project.run(
        "api-admin", *create.split(), "--last-name", "Admin", "--password", PASSWORD,
        **secret,
    )  # fmt: skip
    login = {"email": "eve@example.com", "password": PASSWORD}
    token = client.post("/login/", json=login).json()["token"]
    admin = {"Authorization": f"Bearer {token}"}
    page = client.get("/users/", headers=admin, params={"page": 1, "size": 10})
    assert page.status_code == 200, page.text
    assert {"items", "total", "page", "size", "pages"} <= page.json().keys()
    assert page.json()["total"] == 2

    assert client.post(f"/users/{own}/ban", headers=admin).status_code == 200
    assert client.get("/users/me", headers=bearer).status_code in {401, 403}
    assert client.get("/users/me", headers=key).status_code in {401, 403}
    for path in ("/livez", "/", "/docs", "/openapi.json"):
        assert client.get(path).status_code == 200, path
