"""Loss curves equal the kept ones, and fall."""

from __future__ import annotations

import json

import pytest

from tests.golden.curves import FILE, NAMES, NUM_STEPS, NUM_STEPS_OF_IMAGES, OF_IMAGES, curve


@pytest.mark.parametrize("name", NAMES)
def test_the_curve_is_the_kept_one(name: str) -> None:
    """To 0.1 % at each step: more than another BLAS or thread count changes, less than any real change does."""
    kept = json.loads(FILE.read_text())[name]
    found = curve(name)
    assert len(found) == len(kept) == (NUM_STEPS_OF_IMAGES if name in OF_IMAGES else NUM_STEPS)
    for step, (ours, theirs) in enumerate(zip(found, kept, strict=True)):
        assert ours == pytest.approx(theirs, rel=1e-3), f"step {step}"
    if name not in OF_IMAGES:
        assert found[-1]["loss/total"] < found[0]["loss/total"]
