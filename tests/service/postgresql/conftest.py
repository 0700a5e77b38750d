"""What these tests take from those of the settings."""

from tests.service.config.conftest import write_env

__all__ = ["write_env"]
