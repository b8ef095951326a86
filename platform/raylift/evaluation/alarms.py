"""Failures that a rising validation curve can hide: cameras collapsed to one side, and flat shapes."""

from __future__ import annotations

from collections.abc import Mapping

ALARM = "alarm/"
COLLAPSED_CAMERAS, FLAT_SHAPES = f"{ALARM}collapsed_cameras", f"{ALARM}flat_shapes"
COLLAPSED_SPREAD_DEG = 20.0
"""Spread of predicted azimuths below which they have collapsed to one side."""
MANY_SIDED_SPREAD_DEG = 40.0
"""Spread of true azimuths below which the images may really be seen from one side."""
FLAT_THICKNESS = 0.08
"""Median thickness below which half of the shapes are sheets or empty; a ball has 1."""

MEANINGS: Mapping[str, str] = {
    COLLAPSED_CAMERAS: (
        f"the model sees almost every image from one side (azimuths spread by less than {COLLAPSED_SPREAD_DEG:.0f}"
        " degrees), so its shapes fit one view and are not 3D: start from fitted poses, or limit the camera range"
    ),
    FLAT_SHAPES: (
        f"half of the shapes are flat or empty (thickness below {FLAT_THICKNESS}): check the panels; the cameras or the"
        " iso-level may be wrong"
    ),
}
"""By metric: the meaning of the value 1, and the remedy."""


def collapsed_cameras(spread_deg: float, true_spread_deg: float | None) -> float:
    """1 if predicted azimuths have collapsed although the images are, or may be (None: unknown), many-sided."""
    many_sided = true_spread_deg is None or true_spread_deg >= MANY_SIDED_SPREAD_DEG
    return float(many_sided and spread_deg < COLLAPSED_SPREAD_DEG)


def flat_shapes(thickness_median: float) -> float:
    """1 if half of the shapes are flat or empty."""
    return float(thickness_median < FLAT_THICKNESS)


class AlarmBell:
    """Reports an alarm when it starts: not again while it lasts, but again if it returns."""

    def __init__(self) -> None:
        self._on: set[str] = set()

    def news(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """Alarms that start with these metrics, with their meanings."""
        found = {}
        for name, meaning in MEANINGS.items():
            if name not in metrics:
                continue
            if metrics[name] and name not in self._on:
                found[name] = meaning
            (self._on.add if metrics[name] else self._on.discard)(name)
        return found
