"""Parts that several kinds of furniture share: turned legs, feet, handles, drawers and doors."""

from __future__ import annotations

import numpy as np

from raylift.data.sources.procedural_furniture.looks import METAL
from raylift.data.sources.procedural_furniture.solids import bar, turned
from raylift.data.sources.procedural_parts import Parts


def pick(rng: np.random.Generator, **weights: float) -> str:
    """One of the names, drawn by weight."""
    shares = np.array(list(weights.values()))
    return str(rng.choice(list(weights), p=shares / shares.sum()))


def drawn_profile(rng: np.random.Generator) -> list[float]:
    """Radii of a turned leg from foot to top, with rings and bulges, in [0.4, 1]."""
    radii: list[float] = rng.uniform(0.4, 1.0, int(rng.integers(5, 10))).tolist()
    return [*radii, 1.0]


def turned_leg(
    parts: Parts, radii: list[float], place: tuple[float, float], span: tuple[float, float], width: float, slot: int
) -> None:
    """A turned leg or column from ``span``'s lower end to its upper one, with radii that are shares of ``width``."""
    heights = np.linspace(*span, len(radii)).tolist()
    turned(parts, [(share * width, y) for share, y in zip(radii, heights, strict=True)], place, slot, sides=12)


def four_feet(
    parts: Parts, rng: np.random.Generator, size: tuple[float, float], high: float, width: float, slot: int
) -> None:
    """Feet under the corners of a body of half width and half depth ``size``: blocks, cones, or balls, drawn."""
    kind = pick(rng, block=1, cone=1, ball=0.6)
    x, z = size[0] - 1.4 * width, size[1] - 1.4 * width
    for side in (-x, x):
        for end in (-z, z):
            if kind == "ball":
                profile = [(0.4 * width, 0.0), (width, 0.3 * high), (width, 0.7 * high), (0.5 * width, high + 0.01)]
                turned(parts, profile, (side, end), slot, sides=12)
            elif kind == "cone":
                turned(parts, [(0.5 * width, 0.0), (width, high + 0.01)], (side, end), slot, sides=10)
            else:
                parts.box((side - width, 0, end - width), (side + width, high + 0.01, end + width), slot)


def handle(
    parts: Parts, kind: str, at: tuple[float, float, float], length: float, *, upright: bool = False, slot: int = METAL
) -> None:
    """A handle on a front that faces +Z at ``at``: "knob", "bar", "grip" or "none"."""
    x, y, z = at
    along = np.array([0.0, 1.0, 0.0]) if upright else np.array([1.0, 0.0, 0.0])
    if kind == "knob":
        bar(parts, [(x, y, z - 0.01), (x, y, z + 0.012), (x, y, z + 0.03)], [0.008, 0.012, 0.016], slot, sides=10)
    elif kind == "bar":
        low, high = np.array(at) - along * length / 2, np.array(at) + along * length / 2
        out = np.array([0.0, 0.0, 0.03])
        points = [tuple(point.tolist()) for point in (low - out / 2, low + out, high + out, high - out / 2)]
        bar(parts, points, 0.007, slot, sides=6)
    elif kind == "grip":
        low, high = np.array(at) - along * length / 2, np.array(at) + along * length / 2
        out = np.array([0.0, 0.0, 0.008])
        parts.tube(low + out, high + out, np.full((2, 2), 0.012), 4, slot)


def drawer(
    parts: Parts, low: tuple[float, float], high: tuple[float, float], z: float, slot: int, kind: str, handles: int = 1
) -> None:
    """A drawer's front between two corners (x, y) on a body whose front is at ``z``, with handles of a kind."""
    gap = 0.006
    parts.box((low[0] + gap, low[1] + gap, z - 0.02), (high[0] - gap, high[1] - gap, z + 0.012), slot)
    width = high[0] - low[0]
    for number in range(handles):
        x = low[0] + width * (number + 0.5) / handles
        handle(parts, kind, (x, (low[1] + high[1]) / 2, z + 0.012), min(0.14, 0.4 * width))
