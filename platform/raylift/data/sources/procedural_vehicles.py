"""Procedural vehicles: elongated bodies whose front, sides and back can be distinguished."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from raylift.core.generators import numpy_generator
from raylift.data.sources.base import LoadedScene, SourceItem
from raylift.data.sources.procedural_parts import COLORS, Parts, patterned_texture
from raylift.rendering.scene import Material, Scene

STYLES = ("car", "van", "pickup", "bus", "lorry")
_LIGHT_COLORS = ((1.0, 0.93, 0.6), (0.75, 0.05, 0.05))
_BODY, _GLASS, _TYRE, _FRONT_LIGHT, _BACK_LIGHT, _LOAD = range(6)


@dataclass(frozen=True)
class ProceduralVehiclesSource:
    """``count`` vehicles, each a pure function of (seed, index).

    They are 1.9 to 4 times as long as wide, symmetric from left to right, and vary in style, proportions, colours and
    patterns. Parts are overlapping closed solids.
    """

    count: int
    seed: int = 0
    kind: str = "procedural"

    def items(self) -> list[SourceItem]:
        return [self._item(index) for index in range(self.count)]

    def _item(self, index: int) -> SourceItem:
        plan = _Plan.draw(self.seed, index)
        return SourceItem(
            id=f"procedural/vehicle-{self.seed}-{index:05d}",
            name=f"{plan.color} {plan.style}",
            category="vehicles",
            reference=str(index),
            licence="Apache-2.0",
            creator="Raylift",
            material="metal",
        )

    def load(self, item: SourceItem, max_bytes: int) -> LoadedScene:
        return LoadedScene(procedural_vehicle(self.seed, int(item.reference)))


@dataclass(frozen=True)
class _Plan:
    """Parameters of one vehicle; lengths in metres, fractions of the length from the front."""

    style: str
    length: float
    width: float
    hood_height: float
    roof_height: float
    clearance: float
    hood: float
    rake: float
    wheel: float
    color: str
    load_color: str
    pattern: str

    @staticmethod
    def draw(seed: int, index: int) -> _Plan:
        rng = numpy_generator(seed, "procedural vehicle", index)
        style = str(rng.choice(STYLES, p=[0.4, 0.2, 0.15, 0.1, 0.15]))
        tall = style in ("bus", "lorry", "van")
        width = rng.uniform(1.6, 1.9) if not tall else rng.uniform(1.8, 2.4)
        slim = {"car": (2.1, 2.7), "van": (2.1, 2.7), "pickup": (2.4, 3.0), "bus": (3.2, 4.0), "lorry": (2.8, 3.8)}
        return _Plan(
            style=style,
            length=width * rng.uniform(*slim[style]),
            width=width,
            hood_height=rng.uniform(0.85, 1.05) * (1.15 if tall else 1.0),
            roof_height=rng.uniform(1.35, 1.6) if not tall else rng.uniform(2.0, 2.8),
            clearance=rng.uniform(0.18, 0.32),
            hood=rng.uniform(0.2, 0.3) if style in ("car", "pickup") else rng.uniform(0.02, 0.12),
            rake=rng.uniform(0.05, 0.12),
            wheel=rng.uniform(0.3, 0.4) * (1.25 if style in ("bus", "lorry") else 1.0),
            color=str(rng.choice(list(COLORS))),
            load_color=str(rng.choice(list(COLORS))),
            pattern=str(rng.choice(["plain", "stripes", "checks"], p=[0.6, 0.25, 0.15])),
        )


def procedural_vehicle(seed: int, index: int) -> Scene:
    """One vehicle, Y up and driving towards +Z, standing on y = 0, in metres."""
    plan = _Plan.draw(seed, index)
    rng = numpy_generator(seed, "procedural vehicle texture", index)
    parts = Parts()
    half, width = plan.length / 2, plan.width / 2

    def at(share: float) -> float:
        """z at a fraction of the length from the front."""
        return half - share * plan.length

    low, hood = plan.clearance, plan.hood_height
    nose = low + 0.55 * (hood - low)
    lower = [(at(1), low), (at(0), low), (at(0), nose), (at(0.04), hood - 0.06), (at(plan.hood), hood), (at(1), hood)]
    parts.prism(np.array(lower), width, _BODY)
    cabin_end = {"car": 0.88, "van": 0.99, "pickup": 0.58, "bus": 0.99, "lorry": 0.3}[plan.style]
    back_rake = plan.rake if plan.style == "car" else 0.01
    _add_cabin(parts, plan, at, cabin_end, back_rake)
    if plan.style == "lorry":
        top = plan.roof_height * 1.1
        box = [(at(0.99), hood - 0.02), (at(0.34), hood - 0.02), (at(0.34), top), (at(0.99), top)]
        parts.prism(np.array(box), 1.02 * width, _LOAD)
    for share in (0.17, 0.8):
        for side in (-1.0, 1.0):
            hub = np.array([side * (width - 0.12), plan.wheel, at(share)])
            out = np.array([side * 0.16, 0.0, 0.0])
            parts.tube(hub - out, hub + out, np.full((2, 2), plan.wheel), 16, _TYRE)
    for side in (-1.0, 1.0):
        x, y = side * 0.72 * width, low + 0.5 * (nose - low)
        parts.box((x - 0.14, y - 0.09, at(0) - 0.03), (x + 0.14, y + 0.09, at(0) + 0.03), _FRONT_LIGHT)
        parts.box((x - 0.14, y - 0.09, at(1) - 0.03), (x + 0.14, y + 0.09, at(1) + 0.03), _BACK_LIGHT)
    white = (1.0, 1.0, 1.0)
    return parts.scene(
        (
            Material(white, patterned_texture(rng, COLORS[plan.color], plan.pattern), "metal paint"),
            Material((0.16, 0.2, 0.25), None, "glass"),
            Material((0.09, 0.09, 0.1), None, "rubber"),
            Material(_LIGHT_COLORS[0], None, "front light"),
            Material(_LIGHT_COLORS[1], None, "back light"),
            Material(white, patterned_texture(rng, COLORS[plan.load_color], "plain"), "load"),
        )
    )


def _add_cabin(parts: Parts, plan: _Plan, at: Callable[[float], float], end: float, back_rake: float) -> None:
    """Sill, windows all around, and a roof."""
    low, top, width = plan.hood_height - 0.02, plan.roof_height, plan.width / 2
    start, slant = plan.hood, plan.rake
    sill = low + 0.2 * (top - low)

    def slab(bottom: float, upper: float) -> np.ndarray:
        """The part of the cabin's outline between two heights."""
        shares = [(height - low) / (top - low) for height in (bottom, upper)]
        fronts = [at(start + slant * share) for share in shares]
        backs = [at(end - back_rake * share) for share in shares]
        return np.array([(backs[0], bottom), (fronts[0], bottom), (fronts[1], upper), (backs[1], upper)])

    parts.prism(slab(low, sill), 0.97 * width, _BODY)
    parts.prism(slab(sill - 0.01, top - 0.06), 0.93 * width, _GLASS)
    parts.prism(slab(top - 0.07, top), 0.95 * width, _BODY)
