"""The page /admin/cache in a real browser: `apt-get install chromium`.

The browser is driven by Playwright: `uv run --group browser pytest -m nightly`.
"""

from collections.abc import Iterator
from typing import Literal

import httpx
import pytest

from harness import Template

pytestmark = pytest.mark.nightly  # the job installs both; without them, these fail


@pytest.fixture(scope="module")
def service(template: Template) -> Iterator[httpx.Client]:
    from browsing import busy

    project = template.copy(cache_backend="redis")
    project.sync()
    with busy(project) as client:
        yield client


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
@pytest.mark.parametrize("width", [1280, 360])
def test_an_admin_logs_in_looks_clears_and_logs_out(
    service: httpx.Client,
    scheme: Literal["light", "dark"],
    script: bool,
    width: int,
) -> None:
    from browsing import chromium, log_in

    url = str(service.base_url).rstrip("/")
    with chromium() as browser:
        context = browser.new_context(
            color_scheme=scheme,
            java_script_enabled=script,
            viewport={"width": width, "height": 800},
        )
        page = context.new_page()
        complaints: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))

        log_in(page, url)
        cell = page.locator("#routes-rows tr", has_text="/users/me").locator("data")
        before = int(float(cell.first.get_attribute("value") or 0))
        assert before >= 50
        assert page.locator("#redis-rows tr", has_text="given up").count() == 2
        assert page.locator("#redis-rows tr", has_text="used again").count() == 2
        broad = page.locator("body").evaluate("body => body.scrollWidth")
        assert broad <= width, "only the tables scroll sideways"

        service.get("/users/me", headers=token(service))
        if script:
            page.evaluate("scrollTo(0, 100)")
            page.wait_for_function(
                "n => document.querySelector('#routes-rows data').value > n", arg=before
            )
            assert page.evaluate("scrollY") == 100
        else:
            page.get_by_role("link", name="Refresh").click()
            assert float(cell.first.get_attribute("value") or 0) == before + 1

        page.get_by_label("Namespace").fill("users:list")
        page.get_by_role("button", name="Clear", exact=True).click()
        page.get_by_text("Dropped users:list and all below it.").wait_for()
        row = page.locator("#last-rows tr").first
        assert "the page /admin/cache" in (row.text_content() or "")

        page.get_by_label("Address").fill("/users/me")
        page.get_by_role("button", name="Explain").click()
        page.locator("dd", has_text="user:1:me").wait_for()

        page.get_by_role("button", name="Log out").click()
        page.wait_for_url(f"{url}/admin/login")
        page.goto(f"{url}/admin/cache")
        assert page.url == f"{url}/admin/login?next=/cache"
        assert not complaints
        assert {httpx.URL(each).netloc for each in asked} == {service.base_url.netloc}
        background = page.locator("body").evaluate(
            "e => getComputedStyle(e).backgroundColor"
        )
        assert (background == "rgb(18, 24, 26)") == (scheme == "dark")


def test_a_form_of_another_site_does_nothing(service: httpx.Client) -> None:
    from browsing import chromium, log_in

    url = str(service.base_url).rstrip("/")
    with chromium() as browser:
        page = browser.new_page()
        log_in(page, url)
        csrf = page.locator("input[name=csrf]").first.get_attribute("value")
        other = url.replace("127.0.0.1", "localhost")
        page.route(
            f"{other}/form",
            lambda route: route.fulfill(
                content_type="text/html",
                body=f'<form method="post" action="{url}/admin/cache/clear">'
                f'<input name="csrf" value="{csrf}">'
                '<input name="namespace" value="stolen"><button>Go</button></form>',
            ),
        )
        page.goto(f"{other}/form")
        page.get_by_role("button").click()
        page.wait_for_load_state()
        page.goto(f"{url}/admin/cache")
        assert "stolen" not in page.content()


def token(client: httpx.Client) -> dict[str, str]:
    from browsing import EMAIL
    from serving import PASSWORD

    login = {"email": EMAIL, "password": PASSWORD}
    return {
        "Authorization": f"Bearer {client.post('/login/', json=login).json()['token']}"
    }
