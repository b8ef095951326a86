"""Procedural furniture of six categories, in the order of the categories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from raylift.core.generators import numpy_generator
from raylift.data.sources.base import LoadedScene, SourceItem
from raylift.data.sources.procedural import ProceduralSource, procedural_chair
from raylift.data.sources.procedural_furniture import beds, cabinets, lamps, sofas, tables
from raylift.data.sources.procedural_furniture.looks import ACCENT, CLOTH, MAIN, Look
from raylift.data.sources.procedural_parts import Parts
from raylift.rendering.scene import Scene


@dataclass(frozen=True)
class _Maker:
    """How the pieces of a category are drawn.

    Attributes:
        styles: nouns and their weights.
        build: adds the parts of a style, drawn by a generator: Y up, facing +Z, standing on y = 0, in metres.
        kinds: kinds of surface by slot.
        named: slot whose colour and material name a piece.
        named_by_body: styles to which the body's colour and material give the name instead.
    """

    styles: dict[str, float]
    build: Callable[[Parts, str, np.random.Generator], None]
    kinds: dict[int, tuple[str, ...]]
    named: int = MAIN
    named_by_body: frozenset[str] = frozenset()


_MAKERS = {
    "tables": _Maker(
        tables.STYLES, tables.build_table, {MAIN: ("wood", "wood", "wood", "paint", "paint", "metal", "stone")}
    ),
    "lamps": _Maker(
        lamps.STYLES,
        lamps.build_lamp,
        {
            MAIN: ("wood", "metal", "metal", "plastic", "stone"),
            ACCENT: ("fabric", "fabric", "plastic", "glass", "metal"),
        },
        ACCENT,
        lamps.WITHOUT_SHADE,
    ),
    "cabinets": _Maker(
        cabinets.STYLES, cabinets.build_cabinet, {MAIN: ("wood", "wood", "wood", "paint", "paint", "metal")}
    ),
    "sofas": _Maker(sofas.STYLES, sofas.build_sofa, {MAIN: ("wood",), CLOTH: ("fabric", "fabric", "leather")}, CLOTH),
    "beds": _Maker(beds.STYLES, beds.build_bed, {MAIN: ("wood", "wood", "paint", "metal")}),
}
CATEGORIES = ("seats", *_MAKERS)
"""Categories in turn, as ``sh3f.category_of`` names them; seats are the chairs of ``ProceduralSource``."""


@dataclass(frozen=True)
class ProceduralFurnitureSource:
    """``count`` pieces of furniture, each a pure function of (seed, index); the categories take turns.

    They vary in style, proportions, supports, fittings, surfaces and patterns. Parts are overlapping closed solids.
    """

    count: int
    seed: int = 0
    kind: str = "procedural"

    def items(self) -> list[SourceItem]:
        chairs = ProceduralSource(-(-self.count // len(CATEGORIES)), self.seed).items()
        return [self._item(index, chairs) for index in range(self.count)]

    def _item(self, index: int, chairs: list[SourceItem]) -> SourceItem:
        turn, place = divmod(index, len(CATEGORIES))
        category = CATEGORIES[place]
        own_id = f"procedural/furniture-{self.seed}-{index:05d}"
        if category == "seats":
            return replace(chairs[turn], id=own_id, reference=str(index))
        maker = _MAKERS[category]
        look = _look(self.seed, category, turn)
        named = look.surfaces[MAIN if look.style in maker.named_by_body else maker.named]
        return SourceItem(
            id=own_id,
            name=f"{named.color} {look.style}",
            category=category,
            reference=str(index),
            licence="Apache-2.0",
            creator="Raylift",
            material=named.word,
        )

    def load(self, item: SourceItem, max_bytes: int) -> LoadedScene:
        return LoadedScene(procedural_piece(self.seed, int(item.reference)))


def procedural_piece(seed: int, index: int) -> Scene:
    """One piece of furniture, Y up and facing +Z, standing on y = 0, in metres."""
    turn, place = divmod(index, len(CATEGORIES))
    category = CATEGORIES[place]
    if category == "seats":
        return procedural_chair(seed, turn)
    look = _look(seed, category, turn)
    parts = Parts()
    _MAKERS[category].build(parts, look.style, numpy_generator(seed, "procedural", category, turn))
    return parts.scene(look.materials(numpy_generator(seed, "procedural surfaces", category, turn)))


def _look(seed: int, category: str, turn: int) -> Look:
    maker = _MAKERS[category]
    return Look.draw(seed, category, turn, maker.styles, maker.kinds)
