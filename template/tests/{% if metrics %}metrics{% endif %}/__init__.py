"""The numbers at /metrics."""

from collections import Counter

import httpx
from prometheus_client.parser import text_string_to_metric_families

TOKEN = "only-for-tests-Qw7LxT2vB9dRk4Ns"
SHOWN = {"Authorization": f"Bearer {TOKEN}"}


async def scrape(client: httpx.AsyncClient) -> Counter[str]:
    """Return each number, by its name and the values of its labels in their order."""
    answer = await client.get("/metrics", headers=SHOWN)
    assert answer.status_code == 200, answer.text
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = [sample.labels[name] for name in sorted(sample.labels)]
            found[" ".join([sample.name, *labels]).strip()] += sample.value  # type: ignore[assignment]  # a whole number
    return found
