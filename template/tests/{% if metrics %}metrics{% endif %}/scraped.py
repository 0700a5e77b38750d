"""What a service answers at /metrics."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

TOKEN = "only-for-tests-Qw7LxT2vB9dRk4Ns"
SHOWN = {"Authorization": f"Bearer {TOKEN}"}
CLOSE = {"Connection": "close"}  # the next request may reach another process

Serve = Callable[[int], Awaitable[httpx.AsyncClient]]


def processes(folder: Path) -> set[int]:
    """Return those that have counted a request, of a service that runs there."""
    files = (folder / "data" / "metrics").glob("*/histogram_*.db")
    return {int(file.stem.rpartition("_")[2]) for file in files}


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


async def all_of(requests: Iterable[Awaitable[httpx.Response]]) -> None:
    """Make the requests on a few connections, which lead to several processes."""
    left = iter(requests)

    async def some() -> None:
        for request in left:
            await request

    await asyncio.gather(*(some() for _ in range(12)))
