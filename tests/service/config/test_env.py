import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from dotenv import dotenv_values

from app.config import Settings, load
from app.config.load import name_problems, setting_names

EXAMPLE = Path(__file__).parents[3] / ".env.example"


def test_names_that_are_no_settings_are_refused() -> None:
    in_file = {"LOG_CATEGORYS": "ALL", "PORT": "8000", "NO_SUCH_THING_AT_ALL": "1"}

    assert name_problems(in_file, {}) == [
        "LOG_CATEGORYS is no setting: did you mean LOG_CATEGORIES?",
        "NO_SUCH_THING_AT_ALL is no setting, or no longer one: remove it, or see"
        " .env.example",
    ]


def test_names_count_in_any_case() -> None:
    assert name_problems({"port": "8000"}, {}) == []


def test_names_of_tools_that_read_the_same_file_are_left_alone() -> None:
    assert name_problems({"COMPOSE_PROJECT_NAME": "a", "POSTGRES_USER": "b"}, {}) == []


@pytest.mark.parametrize(
    "name",
    ["OTEL_SERVICE_NAME", "SENTRY_DSN", "UVICORN_LOOP", "TZ", "WEB_CONCURRENCY"],
)
def test_names_of_libraries_and_platforms_are_left_alone(name: str) -> None:
    assert name_problems({name: "a"}, {}) == []


def test_the_environment_may_hold_anything_else() -> None:
    assert name_problems({}, {"PATH": "/bin", "LOG_CATEGORYS": "ALL"}) == []


class TestPartsThatAreNotThere:
    @pytest.fixture(autouse=True)
    def mail(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(load, "PARTS", {"MAIL_": "-d mail=true"})
        monkeypatch.setattr(load, "SWITCHES", ("MAIL_ENABLED",))

    @pytest.mark.parametrize("name", ["MAIL_ENABLED", "MAIL_HOST"])
    def test_are_named_with_the_command_that_adds_them(self, name: str) -> None:
        (line,) = name_problems({name: "true"}, {})
        assert line.startswith(f"{name} belongs to a part")
        assert line.endswith("add the part with: api-admin update -d mail=true")

    def test_cannot_be_turned_on_in_the_environment(self) -> None:
        (line,) = name_problems({}, {"MAIL_ENABLED": "true"})
        assert line.startswith("MAIL_ENABLED belongs to a part")

    def test_leave_settings_behind_that_stop_nothing(self) -> None:
        assert name_problems({"MAIL_HOST": "mx"}, {}, leftovers=False) == []
        switch = {"MAIL_ENABLED": "true"}
        assert len(name_problems(switch, {}, leftovers=False)) == 1

    def test_may_be_off(self) -> None:
        switch = {"MAIL_ENABLED": "false"}
        assert name_problems(switch, switch) == []

    def test_share_their_names_with_others_in_the_environment(self) -> None:
        # Kubernetes sets MAIL_PORT=tcp://… in all pods beside a service "mail".
        assert name_problems({}, {"MAIL_PORT": "tcp://10.0.0.1:25"}) == []


class TestExample:
    """`.env.example` documents all settings."""

    def test_has_every_setting_and_nothing_else(self) -> None:
        assert sorted(dotenv_values(EXAMPLE)) == sorted(setting_names())

    @pytest.mark.parametrize("name", setting_names())
    def test_says_what_a_setting_means_and_its_default(self, name: str) -> None:
        *meaning, default = comment_above(name)
        field = Settings.model_fields[name.lower()]
        assert meaning
        if field.is_required():
            assert default == "No default."
        else:
            assert default == f"Default: {written(field.default)}"

    @pytest.mark.parametrize("name", setting_names())
    def test_names_the_unit_of_a_setting_that_has_one(self, name: str) -> None:
        description = Settings.model_fields[name.lower()].description or ""
        comment = " ".join(comment_above(name))
        for unit in ("seconds", "bytes", "characters"):
            if re.search(rf"\b{unit}\b", description):
                assert unit in comment

    def test_its_secret_key_is_refused(self) -> None:
        assert dotenv_values(EXAMPLE)["SECRET_KEY"] == "replace-me"


def comment_above(name: str) -> list[str]:
    """Return the lines of the comment that belongs to a setting."""
    before = EXAMPLE.read_text("utf-8").partition(f"\n{name}=")[0]
    return [line.removeprefix("# ") for line in reversed(list(comment_upwards(before)))]


def comment_upwards(text: str) -> Iterator[str]:
    for line in reversed(text.splitlines()):
        if not line.startswith("#"):
            return
        yield line


def written(value: object) -> str:
    """Return a value as `.env` has it."""
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return "empty" if value in ("", (), None) else text
