"""A browser before the pages of a rendered service that has something to show.

`uv run --group browser python tests/browsing.py` takes the pictures in docs/ again.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Literal

import copier
import httpx
from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from faults.valkey import Valkey, valkey_in
from harness import ROOT, Project, take_snapshot
from serving import PASSWORD, PATIENCE, serving

PICTURES = ROOT / "docs" / "pictures"
EMAIL = "eve@example.com"
SIZE: ViewportSize = {"width": 1180, "height": 1240}  # pixels
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the Chromium or Chrome of this system; one that is not there fails."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def busy(project: Project) -> Iterator[httpx.Client]:
    """Serve in two processes, with an admin, after some requests and an outage."""
    with valkey_in(project.path) as redis:
        asyncio.run(redis.start())
        environment = {
            "REDIS_URL": f"unix://{redis.socket}",
            "WORKERS": "2",
            "RATE_LIMIT_ENABLED": "false",
        }
        name = "user create --admin --first-name Eve --last-name Admin --email"
        project.run(
            *("api-admin", *name.split(), EMAIL, "--password", PASSWORD),
            **environment,
        )
        with serving(project, **environment) as client:
            cause_something(client, redis)
            yield client


def cause_something(client: httpx.Client, redis: Valkey) -> None:
    login = {"email": EMAIL, "password": PASSWORD}
    token = client.post("/login/", json=login).json()["token"]
    admin = {"Authorization": f"Bearer {token}"}
    me = client.get("/users/me", headers=admin)
    profile = {"email": EMAIL, "first_name": "Eve", "last_name": "Admin"}
    for number in range(40):
        for path in ("/users/me", f"/users/?page={number % 3 + 1}", "/users/keys"):
            client.get(path, headers=admin)
        tagged = admin | {"If-None-Match": me.headers["etag"]}
        client.get("/users/me", headers=tagged)
        if number % 10 == 5:
            changed = profile | {"last_name": f"Admin {number}"}
            client.put(f"/users/{me.json()['id']}", json=changed, headers=admin)
        if number % 8 == 0:
            fresh = admin | {"Cache-Control": "no-cache"}
            client.get("/users/?page=1", headers=fresh)
            client.get("/users/me", headers=admin | {"Cache-Control": "no-store"})
    key = {"name": "laptop", "scopes": ["profile:read"]}
    assert client.post("/users/keys", json=key, headers=admin).status_code == 201
    redis.freeze()
    wait_until(client, "open")
    redis.thaw()
    wait_until(client, "closed")


def wait_until(client: httpx.Client, breaker: str) -> None:
    """Return when all processes say so: each of many connections may reach another."""
    patience, same = time.monotonic() + PATIENCE, 0
    while same < 20:
        assert time.monotonic() < patience
        with httpx.Client(base_url=client.base_url) as other:
            detail = other.get("/readyz").json()["parts"]["cache"]["detail"]
        same = same + 1 if detail["breaker"] == breaker else 0


def log_in(page: Page, url: str) -> None:
    """Log in with the form, on the way to the page."""
    page.goto(f"{url}/admin/cache")
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{url}/admin/cache")


def take_pictures() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = folder / "service"
        copier.run_copy(
            str(take_snapshot(folder / "template")),
            target,
            data={"cache_backend": "redis", "project_name": "Book Shop"},
            defaults=True,
            quiet=True,
        )
        project = Project(target, {})
        project.run("uv", "sync", "--quiet")
        with busy(project) as client, chromium() as browser:
            for scheme in SCHEMES:
                page = browser.new_page(color_scheme=scheme, viewport=SIZE)
                log_in(page, str(client.base_url).rstrip("/"))
                image = Image.open(BytesIO(page.screenshot(full_page=True)))
                image.save(PICTURES / f"admin-cache-{scheme}.webp", lossless=True)
                page.close()


if __name__ == "__main__":
    take_pictures()
