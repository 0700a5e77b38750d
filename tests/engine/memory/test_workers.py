import pytest

from app.cache import check_workers
from app.config import Settings
from app.errors import StartupError


def test_memory_serves_one_process_only(settings: Settings) -> None:
    check_workers(1, settings)
    with pytest.raises(StartupError, match="is 2, but the memory cache serves"):
        check_workers(2, settings)
