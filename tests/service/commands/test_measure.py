"""api-admin routes --measure, where there is nothing to measure."""

from tests.servers.service import Run, refusal


def test_says_that_there_is_no_cache(run: Run) -> None:
    assert "has no cache" in refusal(run("routes", "--measure"))
