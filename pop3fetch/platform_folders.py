"""The folders that the platform gives this program."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pop3fetch.errors import ConfigurationError


def platform_folder(kind: Literal["config", "state"], option: str) -> Path:
    """Return the platform's folder for the configuration or the state; ``option`` names another one.

    Raises ConfigurationError if the home folder is not known.
    """
    from platformdirs import PlatformDirs

    platform = PlatformDirs("pop3fetch")
    try:
        path = platform.user_config_path if kind == "config" else platform.user_state_path
    except RuntimeError:  # the system does not know the user, as in containers
        path = Path()
    if not path.is_absolute():
        raise ConfigurationError("the home folder is not known", f"set HOME, or use {option}")
    return path
