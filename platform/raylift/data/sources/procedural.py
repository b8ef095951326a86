"""Procedural textured chairs: for tests, and for a demo without meshes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from raylift.core.errors import ConfigError
from raylift.core.generators import numpy_generator
from raylift.data.sources.base import AnySource, LoadedScene, SourceItem
from raylift.data.sources.procedural_parts import COLORS, WOODS, Parts, patterned_texture, wood_texture
from raylift.data.sources.registry import source
from raylift.rendering.scene import Material, Scene


@source(
    "procedural",
    delivers="shapes",
    help="generated chairs, vehicles, or furniture of six categories: COUNT, vehicles:COUNT, furniture:COUNT",
)
@dataclass(frozen=True)
class ProceduralSource:
    """``count`` chairs and stools, each a pure function of (seed, index).

    They vary in proportions, legs (straight, splayed, sled, pedestal), back (panel, slats, ladder, none), arms,
    cushion, colours and textures. Parts are closed solids that overlap, as in real models.
    """

    count: int
    seed: int = 0
    kind: str = "procedural"

    @staticmethod
    def open(place: str, seed: int) -> AnySource:
        """The source of ``COUNT`` chairs, ``vehicles:COUNT`` or ``furniture:COUNT``."""
        # Imported here: they are made of the same parts.
        from raylift.data.sources.procedural_furniture.source import ProceduralFurnitureSource
        from raylift.data.sources.procedural_vehicles import ProceduralVehiclesSource

        makers: dict[str, Callable[[int, int], AnySource]] = {
            "": ProceduralSource,
            "chairs": ProceduralSource,
            "vehicles": ProceduralVehiclesSource,
            "furniture": ProceduralFurnitureSource,
        }
        kind, separator, number = place.rpartition(":")
        if not separator and place in makers:
            kind, number = place, ""
        if kind not in makers or (number and not number.isdigit()):
            raise ConfigError(
                f"--source procedural:{place}: {place!r} is not a count",
                "use procedural:40, procedural:vehicles:40 or procedural:furniture:60",
            )
        return makers[kind](int(number or 40), seed)

    def items(self) -> list[SourceItem]:
        return [self._item(index) for index in range(self.count)]

    def _item(self, index: int) -> SourceItem:
        plan = _Plan.draw(self.seed, index)
        noun = "stool" if plan.back == "none" else ("armchair" if plan.arms else "chair")
        return SourceItem(
            id=f"procedural/{self.seed}-{index:05d}",
            name=f"{plan.seat_color} {noun}",
            category="seats",
            reference=str(index),
            licence="Apache-2.0",
            creator="Raylift",
            material=plan.wood,
        )

    def load(self, item: SourceItem, max_bytes: int) -> LoadedScene:
        return LoadedScene(procedural_chair(self.seed, int(item.reference)))


@dataclass(frozen=True)
class _Plan:
    """Parameters of one chair; lengths in metres."""

    width: float
    depth: float
    seat_height: float
    seat_thickness: float
    back_height: float
    back: str
    legs: str
    arms: bool
    cushion: bool
    leg_radius: float
    splay: float
    wood: str
    seat_color: str
    pattern: str

    @staticmethod
    def draw(seed: int, index: int) -> _Plan:
        rng = numpy_generator(seed, "procedural chair", index)
        back = str(rng.choice(["panel", "slats", "ladder", "none"], p=[0.35, 0.25, 0.25, 0.15]))
        return _Plan(
            width=rng.uniform(0.38, 0.62),
            depth=rng.uniform(0.36, 0.56),
            seat_height=rng.uniform(0.36, 0.60),
            seat_thickness=rng.uniform(0.03, 0.09),
            back_height=rng.uniform(0.32, 0.62),
            back=back,
            legs=str(rng.choice(["straight", "splayed", "sled", "pedestal"], p=[0.4, 0.3, 0.15, 0.15])),
            arms=bool(rng.random() < 0.35) and back != "none",
            cushion=bool(rng.random() < 0.5),
            leg_radius=rng.uniform(0.014, 0.032),
            splay=rng.uniform(0.03, 0.09),
            wood=str(rng.choice(list(WOODS))),
            seat_color=str(rng.choice(list(COLORS))),
            pattern=str(rng.choice(["plain", "stripes", "checks", "weave"])),
        )


_WOOD, _SEAT = 0, 1


def procedural_chair(seed: int, index: int) -> Scene:
    """One chair, Y up and facing +Z, standing on y = 0, in metres."""
    plan = _Plan.draw(seed, index)
    rng = numpy_generator(seed, "procedural texture", index)
    parts = Parts()
    w, d, h, t, r = plan.width / 2, plan.depth / 2, plan.seat_height, plan.seat_thickness, plan.leg_radius
    parts.box((-w, h - t, -d), (w, h, d), _WOOD if plan.cushion else _SEAT)
    if plan.cushion:
        parts.box((-0.92 * w, h - 0.005, -0.9 * d), (0.92 * w, h + 0.05, 0.92 * d), _SEAT)
    _add_legs(parts, plan, w, d, h, t, r)
    _add_back(parts, plan, w, d, h, r)
    if plan.arms:
        for side in (-1.0, 1.0):
            x, y = side * (w - r), h + 0.2
            parts.tube(np.array([x, y, -d]), np.array([x, y, 0.8 * d]), np.full((2, 2), 1.3 * r), 4, _WOOD)
            parts.tube(np.array([x, h - 0.01, 0.6 * d]), np.array([x, y, 0.6 * d]), np.full((2, 2), r), 8, _WOOD)
    return parts.scene(
        (
            Material((1.0, 1.0, 1.0), wood_texture(rng, WOODS[plan.wood]), f"wood {plan.wood}"),
            Material((1.0, 1.0, 1.0), patterned_texture(rng, COLORS[plan.seat_color], plan.pattern), "fabric"),
        )
    )


def _add_legs(parts: Parts, plan: _Plan, w: float, d: float, h: float, t: float, r: float) -> None:
    if plan.legs == "pedestal":
        heights = (0.0, 0.02, 0.03, h - t + 0.01)
        floor, post_foot, plate_top, post_top = (np.array([0.0, height, 0.0]) for height in heights)
        parts.tube(post_foot, post_top, np.full((2, 2), 1.6 * r), 12, _WOOD)
        parts.tube(floor, plate_top, np.full((2, 2), 0.8 * min(w, d)), 20, _WOOD)
        return
    spread = plan.splay if plan.legs == "splayed" else 0.0
    sides = 4 if plan.legs == "straight" else 8
    for x in (-1.0, 1.0):
        for z in (-1.0, 1.0):
            top = np.array([x * (w - 1.5 * r), h - t + 0.01, z * (d - 1.5 * r)])
            foot = np.array([x * (w - 1.5 * r + spread), 0.0, z * (d - 1.5 * r + spread)])
            parts.tube(foot, top, np.array([[0.75 * r] * 2, [r] * 2]), sides, _WOOD)
        if plan.legs == "sled":
            x_rail = x * (w - 1.5 * r)
            parts.tube(np.array([x_rail, r, -d]), np.array([x_rail, r, d]), np.full((2, 2), r), 8, _WOOD)


def _add_back(parts: Parts, plan: _Plan, w: float, d: float, h: float, r: float) -> None:
    if plan.back == "none":
        return
    lean = 0.12 * plan.back_height
    top = h + plan.back_height

    def at(x: float, share: float) -> np.ndarray:
        """A point of the leaning back, at x and a fraction of its height."""
        return np.array([x, h - 0.01 + share * plan.back_height, -d + r - share * lean])

    if plan.back == "panel":
        parts.tube(at(0, 0), at(0, 1), np.array([[w, 0.8 * r], [0.92 * w, 0.8 * r]]), 4, _SEAT)
        return
    for x in (-w + r, w - r):
        parts.tube(at(x, 0), at(x, 1), np.full((2, 2), r), 8, _WOOD)
    rails = (0.35, 0.65, 0.95) if plan.back == "ladder" else (0.2, 0.95)
    for share in rails:
        left, right = at(-w, share), at(w, share)
        parts.tube(left, right, np.array([[0.6 * r, 1.4 * r]] * 2), 4, _SEAT if plan.back == "ladder" else _WOOD)
    if plan.back == "slats":
        for x in np.linspace(-w, w, 6)[1:-1]:
            parts.tube(at(float(x), 0.2), at(float(x), 0.95), np.full((2, 2), 0.6 * r), 4, _SEAT)
    assert top > h
