"""Checks that configs share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from raylift.config.checks import require_at_least
from raylift.core.errors import ConfigError


@dataclass(frozen=True)
class Counts:
    rows: int = 1
    scale: float = 0.0


def test_values_that_are_too_small_are_named() -> None:
    require_at_least(Counts(), 0, "rows", "scale")
    require_at_least(Counts(), 1, "rows")
    with pytest.raises(ConfigError, match=r"model\.rows is 1") as caught:
        require_at_least(Counts(), 2, "rows", path="model.")
    assert caught.value.remedy == "use at least 2"


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="scale is nan"):
        require_at_least(Counts(scale=math.nan), 0, "rows", "scale")
