"""Counters in memory end, and there are not too many of them."""

from pathlib import Path

import pytest

from app.limits.memory import Memory, unlocked_folder


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    return now


async def test_a_counter_ends_when_its_window_does(
    clock: list[float], tmp_path: Path
) -> None:
    counters = Memory(tmp_path)
    assert [await counters.incr("a", 60) for _ in range(3)] == [1, 2, 3]
    clock[0] += 59
    assert await counters.incr("a", 60) == 4
    assert await counters.get_expiry("a") == 1060
    clock[0] += 1
    assert await counters.get("a") == 0
    assert await counters.incr("a", 60) == 1
    await counters.clear("a")
    assert await counters.get("a") == 0


async def test_the_counter_that_was_not_used_for_the_longest_goes(
    tmp_path: Path,
) -> None:
    counters = Memory(tmp_path, most=3)
    for key in ("a", "b", "c", "a", "d"):
        await counters.incr(key, 60)
    assert [await counters.get(key) for key in "abcd"] == [2, 0, 1, 1]


def test_services_with_databases_of_their_own_do_not_unlock_each_other() -> None:
    one, other = (
        unlocked_folder(f"sqlite+aiosqlite:///data/{n}.db") for n in ("a", "b")
    )
    assert one != other
    url = "postgresql+asyncpg://app:x@127.0.0.1:5432/app"
    assert unlocked_folder(url) == Path("data/unlocked")
