"""Object captions: "a {style} {name} made out of {material}"."""

from __future__ import annotations

import re

import numpy as np

from raylift.data.sources.base import SourceItem
from raylift.rendering.scene import Scene

MATERIAL_WORDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("leather", ("leather", "cuir", "cuero", "skai")),
    ("rattan", ("rattan", "wicker", "ratan")),
    ("fabric", ("fabric", "cloth", "textile", "tissu", "tela", "cushion", "velvet", "cotton", "wool", "canvas")),
    ("wood", ("wood", "oak", "walnut", "teak", "teca", "teck", "pine", "birch", "madera", "bois", "beech", "mahogany")),
    ("metal", ("metal", "steel", "chrome", "iron", "inox", "alumin", "brass", "aluminium", "acero", "cromo")),
    ("plastic", ("plastic", "plastique", "plastico", "pvc", "resin", "rubber")),
    ("glass", ("glass", "vidrio", "cristal", "verre")),
    ("stone", ("stone", "concrete", "marble", "granite", "ceramic", "piedra")),
)
SAYS_NOTHING = ("", "others", "other", "none", "null", "unknown")
"""Styles and materials that are left out of captions."""


def dominant_material(scene: Scene) -> str:
    """The material with the largest area among those recognised by name; empty if none is."""
    corners = scene.vertices.astype(np.float64)[scene.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    totals: dict[str, float] = {}
    for index, material in enumerate(scene.materials):
        word = _material_of(material.name)
        if word:
            totals[word] = totals.get(word, 0.0) + float(areas[scene.face_materials == index].sum())
    return max(totals, key=lambda word: totals[word]) if totals else ""


def _material_of(name: str) -> str:
    lowered = name.lower()
    return next((material for material, words in MATERIAL_WORDS if any(word in lowered for word in words)), "")


def make_caption(item: SourceItem, material: str) -> str:
    """The caption of an object; unknown style and material are left out."""
    noun = re.sub(r"\s+", " ", item.name).strip().lower() or item.category
    style, material = item.style.lower(), material.lower()
    phrase = noun if style in SAYS_NOTHING else f"{style} {noun}".strip()
    article = "an" if phrase[:1] in "aeiou" else "a"
    return f"{article} {phrase}" + ("" if material in SAYS_NOTHING else f" made out of {material}")
