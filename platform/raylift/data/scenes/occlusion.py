"""Pastes cut-outs over an object until the hidden share of its mask is within a level's interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from raylift.core.errors import DataError
from raylift.data.scenes.levels import LEVELS, hidden_share

SIZES = (0.45, 1.1)
"""Range of a cut-out's longer edge, as a fraction of the longer edge of the object's box."""
MARGIN = 0.02
"""Distance of the aimed share from the limits of the level's interval."""
MOST_CUTOUTS = 4
MOST_TRIES = 40
_HALVINGS = 8


@dataclass(frozen=True)
class Occluders:
    """What is pasted over an image.

    Attributes:
        colors: premultiplied RGB [H, W, 3] in [0, 1].
        coverage: [H, W] in [0, 1].
    """

    colors: np.ndarray
    coverage: np.ndarray

    @staticmethod
    def none(px: int) -> Occluders:
        return Occluders(np.zeros((px, px, 3), np.float32), np.zeros((px, px), np.float32))

    def under(self, top: Occluders) -> Occluders:
        """These with others pasted over them."""
        through = 1 - top.coverage
        return Occluders(top.colors + self.colors * through[..., None], top.coverage + self.coverage * through)


def visible_part(amodal: np.ndarray, occluders: Occluders) -> np.ndarray:
    """Coverage of what is left to see, uint8 [H, W], from that of the whole object."""
    return np.rint(amodal * (1 - occluders.coverage)).astype(np.uint8)


def occlude(amodal: np.ndarray, level: str, draw: Callable[[], np.ndarray], rng: np.random.Generator) -> Occluders:
    """Cut-outs that hide a share of the object within a level's interval.

    A cut-out of a drawn size starts on a drawn point of the object and slides off in a drawn direction, to where it
    leaves the drawn share hidden. If it is too small for that, it stays near its start and another one follows.

    Args:
        amodal: uint8 [H, W], coverage of the whole object.
        level: a name in ``LEVELS``.
        draw: returns a cut-out, uint8 [h, w, 4].

    Raises:
        DataError: no arrangement was found.
    """
    low, high = LEVELS[level]
    if high == 0:
        return Occluders.none(amodal.shape[0])
    for _ in range(MOST_TRIES):
        found = _arranged(amodal, rng.uniform(low + MARGIN, high - MARGIN), draw, rng)
        visible = visible_part(amodal, found)
        if low <= hidden_share(amodal, visible) <= high and (visible > 127).any():
            return found
    raise DataError(
        f"{MOST_TRIES} arrangements of occluders do not hide {low:.0%} to {high:.0%} of the object",
        "use more, or larger, cut-outs",
    )


def _arranged(amodal: np.ndarray, share: float, draw: Callable[[], np.ndarray], rng: np.random.Generator) -> Occluders:
    rows, columns = np.nonzero(amodal > 127)
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    found = Occluders.none(amodal.shape[0])
    for _ in range(MOST_CUTOUTS):
        size = max(4.0, extent * rng.uniform(*SIZES))
        cutout = _scaled(draw(), size, bool(rng.integers(2)))
        start = int(rng.integers(len(rows)))
        angle = rng.uniform(0, 2 * math.pi)
        place = _Slide(cutout, (float(columns[start]), float(rows[start])), angle)
        reach, on = float(extent + size), found

        def hidden(way: float, place: _Slide = place, on: Occluders = on) -> float:
            return hidden_share(amodal, visible_part(amodal, on.under(place.at(way, amodal.shape[0]))))

        if hidden(0.0) < share:
            found = on.under(place.at(float(rng.uniform(0, 0.15)) * reach, amodal.shape[0]))
            continue
        near, far = 0.0, reach
        for _ in range(_HALVINGS):
            middle = (near + far) / 2
            near, far = (middle, far) if hidden(middle) >= share else (near, middle)
        return on.under(place.at(near, amodal.shape[0]))
    return found


@dataclass(frozen=True)
class _Slide:
    """A cut-out on a line across the image: premultiplied RGBA [h, w, 4] in [0, 1]."""

    cutout: np.ndarray
    start: tuple[float, float]
    angle: float

    def at(self, way: float, px: int) -> Occluders:
        """The image with the cut-out's centre at this distance from the start, in pixels."""
        height, width = self.cutout.shape[:2]
        left = round(self.start[0] + way * math.cos(self.angle) - width / 2)
        top = round(self.start[1] + way * math.sin(self.angle) - height / 2)
        rows, columns = slice(max(0, top), min(px, top + height)), slice(max(0, left), min(px, left + width))
        placed = Occluders.none(px)
        if rows.start < rows.stop and columns.start < columns.stop:
            part = self.cutout[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
            placed.colors[rows, columns], placed.coverage[rows, columns] = part[..., :3], part[..., 3]
        return placed


def _scaled(rgba: np.ndarray, size_px: float, mirrored: bool) -> np.ndarray:
    """A cut-out with this longer edge, premultiplied, float32 [h, w, 4] in [0, 1]."""
    height, width = rgba.shape[:2]
    scale = size_px / max(height, width)
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = Image.fromarray(rgba).resize(target, Image.Resampling.BILINEAR)
    values = np.asarray(resized, np.float32) / np.float32(255)
    values[..., :3] *= values[..., 3:]
    return values[:, ::-1] if mirrored else values
