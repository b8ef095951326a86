"""Occlusion levels: how much of an object is hidden, measured by its masks.

The intervals are those of Occluded PASCAL3D+. Its generator measures some of them by the object's box; here they always
refer to the mask.
"""

from __future__ import annotations

import numpy as np

LEVELS: dict[str, tuple[float, float]] = {"L0": (0.0, 0.0), "L1": (0.2, 0.4), "L2": (0.4, 0.6), "L3": (0.6, 0.8)}
"""Lowest and highest hidden share of each level. L0 hides nothing."""


def hidden_share(amodal: np.ndarray, visible: np.ndarray) -> float:
    """The fraction of the object that is hidden: 1 - visible area / whole area, areas by coverage.

    Args:
        amodal: coverage of the whole object, [H, W], not empty.
        visible: coverage of its visible part, in the same unit.
    """
    return 1.0 - float(visible.sum(dtype=np.float64)) / float(amodal.sum(dtype=np.float64))


def level_of(share: float) -> str | None:
    """The level of a hidden share; None between L0 and L1, or above L3. An exact limit counts as the lower level."""
    return next((name for name, (low, high) in LEVELS.items() if low <= share <= high), None)
