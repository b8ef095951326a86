"""Checks that configs share."""

from __future__ import annotations

from raylift.core.errors import ConfigError


def require_at_least(config: object, least: float, *names: str, path: str = "") -> None:
    """Refuse values of a config that are too small, or NaN.

    Args:
        names: of its fields.
        path: what precedes them in the error, such as ``model.weights.``.

    Raises:
        ConfigError: a value below ``least``.
    """
    for name in names:
        if not getattr(config, name) >= least:
            raise ConfigError(f"{path}{name} is {getattr(config, name)}", f"use at least {least}")
