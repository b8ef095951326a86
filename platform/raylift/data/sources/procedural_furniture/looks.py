"""Surfaces of procedural furniture: woods, paints, cloths, leathers, metals, stone and glass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raylift.core.generators import numpy_generator
from raylift.data.sources.procedural_parts import COLORS, WOODS, patterned_texture, to_bytes, wood_texture
from raylift.rendering.scene import Material

MAIN, TRIM, CLOTH, ACCENT, METAL, GLASS, PALE = range(7)
"""Surfaces of every piece: body, legs and fronts, cloth, second cloth or shade, metal fittings, glass, linen."""

_CLOTHS = COLORS | {
    "beige": (0.76, 0.67, 0.53),
    "brown": (0.38, 0.25, 0.17),
    "cream": (0.90, 0.85, 0.72),
    "teal": (0.12, 0.45, 0.46),
    "orange": (0.84, 0.43, 0.14),
    "pink": (0.85, 0.56, 0.60),
    "navy": (0.10, 0.14, 0.32),
}
_TIMBERS = WOODS | {
    "teak": (0.58, 0.36, 0.18),
    "mahogany": (0.42, 0.16, 0.10),
    "pine": (0.86, 0.68, 0.42),
    "ebony": (0.17, 0.12, 0.10),
}
_METALS = {"steel": (0.66, 0.67, 0.69), "brass": (0.72, 0.56, 0.26), "iron": (0.20, 0.20, 0.21)}
_STONES = {"marble": (0.86, 0.85, 0.82), "granite": (0.42, 0.41, 0.42)}
_GLASSES = {"glass": (0.62, 0.74, 0.76), "white glass": (0.90, 0.90, 0.87)}
_PATTERNS = ("plain", "stripes", "checks", "weave", "dots")


def _colors(kind: str) -> dict[str, tuple[float, float, float]]:
    return {"wood": _TIMBERS, "metal": _METALS, "stone": _STONES, "glass": _GLASSES}.get(kind, _CLOTHS)


@dataclass(frozen=True)
class Surface:
    """One material of a piece.

    Attributes:
        kind: "wood", "paint", "plastic", "fabric", "leather", "metal", "stone" or "glass".
        color: name, as in the piece's own.
        rgb: mean colour in [0, 1].
        pattern: pattern of a fabric.
    """

    kind: str
    color: str
    rgb: tuple[float, float, float]
    pattern: str = "plain"

    @staticmethod
    def draw(rng: np.random.Generator, kinds: tuple[str, ...]) -> Surface:
        """A surface of one of the kinds; its colour varies about the named one."""
        kind = str(rng.choice(kinds))
        if kind == "paint" and rng.random() < 0.5:  # as most painted furniture is
            return Surface.named(rng, kind, str(rng.choice(["white", "white", "cream", "grey", "black"])))
        return Surface.named(rng, kind, str(rng.choice(list(_colors(kind)))))

    @staticmethod
    def named(rng: np.random.Generator, kind: str, color: str) -> Surface:
        """A surface of a kind, its colour about the one of that name."""
        shade = rng.uniform(0.8, 1.15) * rng.uniform(0.93, 1.07, 3)
        red, green, blue = np.clip(np.array(_colors(kind)[color]) * shade, 0.02, 0.98)
        pattern = str(rng.choice(_PATTERNS, p=[0.45, 0.13, 0.12, 0.2, 0.1])) if kind == "fabric" else "plain"
        return Surface(kind, color, (float(red), float(green), float(blue)), pattern)

    @property
    def word(self) -> str:
        """The material in a caption."""
        return {"paint": "wood"}.get(self.kind, self.kind)

    def material(self, rng: np.random.Generator) -> Material:
        """The material with its texture."""
        if self.kind == "wood":
            texture = wood_texture(rng, self.rgb, float(rng.uniform(0.02, 0.07)))
        elif self.kind == "fabric":
            texture = patterned_texture(rng, self.rgb, self.pattern)
        else:
            texture = _mottled(rng, self.rgb, {"stone": 0.16, "leather": 0.08, "metal": 0.05}.get(self.kind, 0.02))
        return Material((1.0, 1.0, 1.0), texture, f"{self.word} {self.color}")


@dataclass(frozen=True)
class Look:
    """What a piece is called and made of, drawn before its geometry.

    Attributes:
        style: noun, such as "coffee table".
        surfaces: by slot: MAIN, TRIM and so on.
    """

    style: str
    surfaces: tuple[Surface, ...]

    @staticmethod
    def draw(seed: int, category: str, index: int, styles: dict[str, float], kinds: dict[int, tuple[str, ...]]) -> Look:
        """The look of a piece.

        Args:
            styles: weight of each style.
            kinds: by slot, the kinds of surface that its body and its cloths may have.
        """
        rng = numpy_generator(seed, "procedural look", category, index)
        weights = np.array(list(styles.values()))
        style = str(rng.choice(list(styles), p=weights / weights.sum()))
        main = Surface.draw(rng, kinds[MAIN])
        trim = main if rng.random() < 0.45 else Surface.draw(rng, ("wood", "paint", "metal"))
        cloths = [Surface.draw(rng, kinds.get(slot, ("fabric",))) for slot in (CLOTH, ACCENT)]
        metal, glass = Surface.draw(rng, ("metal",)), Surface.named(rng, "glass", "glass")
        red, green, blue = rng.uniform(0.78, 0.95) * np.array([1.0, 0.98, rng.uniform(0.86, 1.0)])
        return Look(style, (main, trim, *cloths, metal, glass, Surface("fabric", "white", (red, green, blue))))

    def materials(self, rng: np.random.Generator) -> tuple[Material, ...]:
        """Materials by slot."""
        return tuple(surface.material(rng) for surface in self.surfaces)


def _mottled(rng: np.random.Generator, color: tuple[float, float, float], strength: float) -> np.ndarray:
    """Soft blotches of a few sizes, periodic, uint8 [64, 64, 3]."""
    shade = np.zeros((64, 64))
    rows, columns = np.mgrid[0:64, 0:64] * (2 * np.pi / 64)
    for _ in range(6):
        across, down = rng.integers(-5, 6, 2)
        shade += np.sin(columns * across + rows * down + rng.uniform(0, 2 * np.pi))
    return to_bytes(np.asarray(color) * (1 + strength * shade / 3)[..., None])
