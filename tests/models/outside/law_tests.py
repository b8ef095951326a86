"""The laws for the tiny ball: ``python -m pytest law_tests.py``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from raylift.testing.laws import ModelLaws


class TestTinyBall(ModelLaws):
    recipe = "tinyball/test"
    worlds: ClassVar = (2,)
    reach: ClassVar = {"sdf": {"encoder", "radius"}, "color": {"encoder", "color"}}
    golden = Path(__file__).with_name("golden.json")
