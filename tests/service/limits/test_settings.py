"""What limits may be, and what is said of others."""

import pytest

from app.errors import StartupError
from app.limits import RateLimit, warn_of_workers
from app.limits.storage import is_shared
from tests.environment import settings_from


@pytest.mark.parametrize("limit", ["10/minute", "5 per 2 hours", "1/second; 100/day"])
def test_limits_are_taken(limit: str, database_url: str) -> None:
    with settings_from(DATABASE_URL=database_url, RATE_LIMIT_LOGIN=limit) as settings:
        assert settings.rate_limit_login == limit


def test_the_start_says_where_each_process_counts_for_itself(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    on = {"RATE_LIMIT_ENABLED": "true", "DATABASE_URL": database_url}
    with settings_from(**on) as settings:
        warn_of_workers(1, settings)
        assert not caplog.records
        warn_of_workers(4, settings)
    said = [record.getMessage() for record in caplog.records]
    if is_shared(settings):
        assert not said
    else:
        assert said == [
            "WORKERS=4, and each process counts for itself: a limit of 10 lets up to 40"
            " through"
        ]


@pytest.mark.parametrize("off", ["", " "])
def test_an_empty_one_is_off(off: str, database_url: str) -> None:
    on = {"RATE_LIMIT_ENABLED": "true", "RATE_LIMIT_LOGIN": off}
    with settings_from(DATABASE_URL=database_url, **on) as settings:
        assert settings.rate_limit_of("login") == ""
        assert settings.rate_limit_of("keys") == settings.rate_limit_keys


@pytest.mark.parametrize("wrong", ["ten", "10", "10/fortnight", "0/minute", "1/2years"])
def test_a_wrong_one_is_named(wrong: str, database_url: str) -> None:
    wanted = f"^RATE_LIMIT_LOGIN='{wrong}' should "
    with (
        pytest.raises(StartupError, match=wanted),
        settings_from(DATABASE_URL=database_url, RATE_LIMIT_LOGIN=wrong),
    ):
        pass
    with pytest.raises(ValueError, match="should"):
        RateLimit(wrong)


def test_a_name_that_no_header_can_show_is_refused() -> None:
    with pytest.raises(ValueError, match="should have letters"):
        RateLimit("10/minute", name='"übers"')
