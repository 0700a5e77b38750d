"""The rendered `monitoring/`, in a real Prometheus: `apt-get install prometheus`."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness import Project, Template
from serving import free_port, serving

PATIENCE = 60.0  # seconds
TOKEN = "only-for-tests-Qw7LxT2vB9dRk4Ns"


@pytest.mark.nightly  # the job installs Prometheus; without it, this fails
def test_prometheus_reads_the_service_its_alerts_and_what_dashboards_ask(
    template: Template,
) -> None:
    project = template.copy(cache_backend="redis")  # it has all rules and panels
    project.sync()
    folder = project.path / "monitoring"
    project.run("promtool", "check", "rules", *sorted(folder.glob("alerts*.yml")))
    with serving(project, METRICS_TOKEN=TOKEN) as client:
        port = client.base_url.port
        for path in ("/livez", "/users/me", "/livez"):
            client.get(path)
        with prometheus(project, f"127.0.0.1:{port}") as asked:
            found = wait_for(asked, "http_requests_total")
            routes = {each["metric"]["route"] for each in found}
            assert {"/livez", "/readyz", "/users/me"} <= routes
            (up,) = ask(asked, "up")
            assert up["value"][1] == "1"
            for expression in expressions(folder):
                ask(asked, expression)
            rules = asked.get("/api/v1/rules").json()["data"]["groups"]
            names = {rule["name"] for group in rules for rule in group["rules"]}
            assert {"ServiceDown", "ManyErrors", "FewHits", "WithoutRedis"} <= names


def expressions(folder: Path) -> Iterator[str]:
    for file in folder.glob("*.json"):
        for panel in json.loads(file.read_text("utf-8"))["panels"]:
            for target in panel["targets"]:
                expression: str = target["expr"]
                yield expression.replace("$__rate_interval", "1m")


@contextmanager
def prometheus(project: Project, target: str) -> Iterator[httpx.Client]:
    """Run Prometheus with the rendered files; only the service's address is ours."""
    folder = project.path / "monitoring"
    (folder / "metrics-token").write_text(TOKEN)
    file = folder / "prometheus.yml"
    text = file.read_text("utf-8")
    text = text.replace("127.0.0.1:8000", target).replace("15s", "1s")
    file.write_text(text, "utf-8")
    project.run("promtool", "check", "config", file)
    port = free_port()
    data = project.path / "data" / "prometheus"
    command = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={data}"]
    command.append(f"--web.listen-address=127.0.0.1:{port}")
    log = project.path / "data" / "prometheus.log"
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    except BaseException as error:
        error.add_note(log.read_text())
        raise
    finally:
        server.terminate()
        server.wait(30)


def ask(client: httpx.Client, expression: str) -> list[dict[str, Any]]:
    answer = client.get("/api/v1/query", params={"query": expression})
    assert answer.status_code == 200, (expression, answer.text)
    result: list[dict[str, Any]] = answer.json()["data"]["result"]
    return result


def wait_for(client: httpx.Client, expression: str) -> list[dict[str, Any]]:
    """Return what it gives as soon as that is something."""
    patience = time.monotonic() + PATIENCE
    while time.monotonic() < patience:
        try:
            if found := ask(client, expression):
                return found
        except (httpx.TransportError, AssertionError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"Prometheus has no {expression}")
