"""What a curve must not hide while it rises: cameras that all look from one side, shapes without a third dimension."""

from __future__ import annotations

from collections.abc import Mapping

ALARM = "alarm/"
COLLAPSED_CAMERAS, FLAT_SHAPES = f"{ALARM}collapsed_cameras", f"{ALARM}flat_shapes"
COLLAPSED_SPREAD_DEG = 20.0
"""Predicted azimuths that spread by less have collapsed to one side."""
MANY_SIDED_SPREAD_DEG = 40.0
"""Images whose true azimuths spread by less may well be seen from one side."""
FLAT_THICKNESS = 0.08
"""Below it half of the shapes are sheets, or nothing at all; a ball has 1."""

MEANINGS: Mapping[str, str] = {
    COLLAPSED_CAMERAS: (
        f"the model sees almost every image from one side (azimuths spread by less than {COLLAPSED_SPREAD_DEG:.0f}"
        " degrees), so its shapes fit one view and are not 3D: start from fitted poses, or bound the cameras"
    ),
    FLAT_SHAPES: (
        f"half of the shapes are flat or empty (thickness below {FLAT_THICKNESS}): look at the panels; cameras, or the"
        " level that surfaces are cut at, may be wrong"
    ),
}
"""By metric: what it means where it is 1, and what to do."""


def collapsed_cameras(spread_deg: float, true_spread_deg: float | None) -> float:
    """1 where predicted azimuths have collapsed though the images are many-sided, or may be (None: not known)."""
    many_sided = true_spread_deg is None or true_spread_deg >= MANY_SIDED_SPREAD_DEG
    return float(many_sided and spread_deg < COLLAPSED_SPREAD_DEG)


def flat_shapes(thickness_median: float) -> float:
    """1 where half of the shapes are flat or empty."""
    return float(thickness_median < FLAT_THICKNESS)


class AlarmBell:
    """Rings once for each time that an alarm begins: not again while it lasts, again if it comes back."""

    def __init__(self) -> None:
        self._on: set[str] = set()

    def news(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """Alarms that begin with these metrics, with what they mean."""
        found = {}
        for name, meaning in MEANINGS.items():
            if name not in metrics:
                continue
            if metrics[name] and name not in self._on:
                found[name] = meaning
            (self._on.add if metrics[name] else self._on.discard)(name)
        return found
