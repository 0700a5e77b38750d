"""What `monitoring/` asks Prometheus for is what the service has."""

import json
import re
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.metrics import SHOWN

MONITORING = Path(__file__).parents[2] / "monitoring"
NAME = re.compile(r"\b(?:http|cache)_\w+")


def _asked() -> dict[str, set[str]]:
    asked = {}
    for file in MONITORING.glob("*.json"):
        panels = json.loads(file.read_text("utf-8"))["panels"]
        texts = [target["expr"] for panel in panels for target in panel["targets"]]
        asked[file.name] = set(NAME.findall("\n".join(texts)))
    for file in MONITORING.glob("alerts*.yml"):
        asked[file.name] = set(NAME.findall(file.read_text("utf-8")))
    return asked


async def test_dashboards_and_alerts_ask_for_numbers_that_there_are(
    client: httpx.AsyncClient,
) -> None:
    await client.get("/livez")
    text = (await client.get("/metrics", headers=SHOWN)).text
    there = set()
    for family in text_string_to_metric_families(text):
        ends = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
        ends["summary"] = ["_count", "_sum"]
        there |= {family.name + end for end in ends.get(family.type, [""])}
    there |= {"cache_request_seconds_count", "cache_request_seconds_sum"}
    there |= {"cache_invalidations_total"}
    for file, names in _asked().items():
        assert names - {"http_requests"} <= there, file
