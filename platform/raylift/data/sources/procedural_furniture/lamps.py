"""Procedural lamps: standing, on a table, hanging, on a wall, with an arm, lanterns and chandeliers."""

from __future__ import annotations

import numpy as np

from raylift.data.sources.procedural_furniture.fittings import drawn_profile, pick, turned_leg
from raylift.data.sources.procedural_furniture.looks import ACCENT, GLASS, MAIN, METAL, PALE, TRIM
from raylift.data.sources.procedural_furniture.solids import bar, bend, turned
from raylift.data.sources.procedural_parts import Parts

STYLES = {
    "table lamp": 3.0,
    "floor lamp": 2.0,
    "pendant lamp": 1.5,
    "desk lamp": 1.5,
    "wall lamp": 1.0,
    "lantern": 1.2,
    "chandelier": 0.8,
    "street lamp": 0.6,
}

WITHOUT_SHADE = frozenset({"desk lamp", "lantern", "chandelier", "street lamp"})
"""Styles that are named after their body's colour, not a shade's."""


def build_lamp(parts: Parts, style: str, rng: np.random.Generator) -> None:
    """Add a lamp of a style, from y = 0 up; an arm reaches towards +Z, a wall is behind at -Z."""
    builders = {
        "table lamp": _table_lamp,
        "floor lamp": _floor_lamp,
        "pendant lamp": _pendant,
        "desk lamp": _desk_lamp,
        "wall lamp": _wall_lamp,
        "lantern": _lantern,
        "chandelier": _chandelier,
        "street lamp": _street_lamp,
    }
    builders[style](parts, rng)


def _shade(parts: Parts, rng: np.random.Generator, at: tuple[float, float, float], wide: float, high: float) -> None:
    """A shade whose lower edge is centred at ``at``, of a drawn form, half width ``wide`` at its widest."""
    x, y, z = at
    slot = ACCENT
    form = pick(rng, cone=3, drum=1.5, globe=1, dome=1, bell=1, square=0.7)
    wall = 0.012
    if form in ("cone", "drum", "square"):
        top = wide * (float(rng.uniform(0.3, 0.75)) if form != "drum" else 1.0)
        # A square's outline is wider than a circle of the same half width, across its corners.
        power = 20.0 if form == "square" else 2.0
        profile = [(wide, y), (top, y + high), (top - wall, y + high), (wide - wall, y)]
        turned(parts, profile, (x, z), slot, power=power, sides=24, hollow=True)
        turned(parts, [(0.05, y + 0.3 * high), (0.02, y + high * 0.9)], (x, z), PALE, sides=10)
        # The spider that carries the shade.
        parts.box((x - top, y + 0.85 * high, z - 0.004), (x + top, y + 0.85 * high + 0.008, z + 0.004), METAL)
    elif form == "globe":
        angles = np.linspace(-0.47, 0.47, 9) * np.pi
        squash = float(rng.uniform(0.6, 1.1))
        profile = [(wide * float(np.cos(a)), y + squash * wide * (1 + float(np.sin(a)))) for a in angles]
        turned(parts, profile, (x, z), slot, sides=20)
    else:
        flare = float(rng.uniform(1.5, 3.0)) if form == "bell" else 0.5
        shares = np.linspace(0, 1, 7)
        profile = [
            (
                wide * max(0.08, (1 - float(t)) ** flare if form == "bell" else (1 - float(t) ** 2) ** flare),
                y + high * float(t),
            )
            for t in shares
        ]
        turned(parts, profile, (x, z), slot, sides=20)


def _foot(parts: Parts, rng: np.random.Generator, wide: float) -> float:
    """A plate on the ground; returns its height."""
    high = float(rng.uniform(0.015, 0.045))
    power = 2.0 if rng.random() < 0.75 else 10.0
    turned(parts, [(wide, 0.0), (wide, 0.6 * high), (0.85 * wide, high)], (0, 0), MAIN, power=power, sides=24)
    return high


def _table_lamp(parts: Parts, rng: np.random.Generator) -> None:
    body, wide = float(rng.uniform(0.18, 0.45)), float(rng.uniform(0.05, 0.11))
    kind = pick(rng, vase=2, turned=2, stem=1.5, block=1, tripod=0.7)
    high = _foot(parts, rng, wide * float(rng.uniform(0.8, 1.6))) if kind in ("vase", "turned", "stem") else 0.0
    if kind == "vase":
        bulge, heights = float(rng.uniform(0.25, 0.7)), np.linspace(0, 1, 9)
        swell = np.exp(-(((heights - bulge) / float(rng.uniform(0.15, 0.4))) ** 2))
        profile = [
            (wide * (0.25 + 0.9 * float(s)), high - 0.005 + body * float(t))
            for t, s in zip(heights, swell, strict=True)
        ]
        turned(parts, profile, (0, 0), TRIM)
    elif kind == "turned":
        turned_leg(parts, drawn_profile(rng), (0, 0), (high - 0.005, high + body), 0.75 * wide, TRIM)
    elif kind == "block":
        parts.tube(
            np.zeros(3),
            np.array([0, body, 0]),
            np.array([[wide] * 2, [wide * float(rng.uniform(0.4, 1.1))] * 2]),
            4,
            MAIN,
        )
    elif kind == "tripod":
        _tripod(parts, body, 1.6 * wide)
    stem = high + body * float(rng.uniform(1.05, 1.35))
    start = high - 0.005 if kind == "stem" else high + 0.7 * body
    shade = float(rng.uniform(0.14, 0.3))
    turned(parts, [(0.014, start), (0.012, stem + 0.5 * shade)], (0, 0), METAL, sides=10)
    _shade(parts, rng, (0, stem - 0.02, 0), float(rng.uniform(0.11, 0.24)), shade)


def _tripod(parts: Parts, high: float, reach: float) -> None:
    for angle in 2 * np.pi * (np.arange(3) + 0.25) / 3:
        foot = np.array([reach * np.cos(angle), 0.0, reach * np.sin(angle)])
        top = np.array([0.02 * np.cos(angle), high, 0.02 * np.sin(angle)])
        parts.tube(foot, top, np.array([[0.01] * 2, [0.014] * 2]), 8, TRIM)
    turned(parts, [(0.04, high - 0.03), (0.04, high + 0.02)], (0, 0), METAL, sides=12)


def _floor_lamp(parts: Parts, rng: np.random.Generator) -> None:
    high, kind = float(rng.uniform(1.2, 1.8)), pick(rng, stem=3, tripod=1.2, arc=1, torch=1)
    wide, shade = float(rng.uniform(0.15, 0.32)), float(rng.uniform(0.18, 0.4))
    if kind == "tripod":
        _tripod(parts, high - 0.1, float(rng.uniform(0.25, 0.4)))
        turned(parts, [(0.012, high - 0.12), (0.012, high + 0.5 * shade)], (0, 0), METAL, sides=8)
        _shade(parts, rng, (0, high, 0), wide, shade)
        return
    base = _foot(parts, rng, float(rng.uniform(0.12, 0.2)))
    stem = float(rng.uniform(0.012, 0.025))
    if kind == "arc":
        reach = float(rng.uniform(0.4, 0.9))
        path = bend(
            np.array([0, base - 0.01, 0]), np.array([0, 1.6 * high, 0.1]), np.array([0, 0.85 * high, reach]), 12
        )
        bar(parts, path, stem, METAL)
        _shade(parts, rng, (0, 0.85 * high - 0.7 * shade, reach), wide, shade)
    elif kind == "torch":
        turned(parts, [(stem, base - 0.005), (stem, high)], (0, 0), METAL, sides=10)
        turned(
            parts, [(0.03, high - 0.02), (wide, high + 0.6 * shade), (0.9 * wide, high + 0.6 * shade)], (0, 0), ACCENT
        )
    else:
        if rng.random() < 0.3:
            turned_leg(parts, drawn_profile(rng), (0, 0), (base - 0.005, high), 2 * stem, TRIM)
        turned(parts, [(stem, base - 0.005), (stem, high + 0.6 * shade)], (0, 0), METAL, sides=10)
        _shade(parts, rng, (0, high, 0), wide, shade)


def _pendant(parts: Parts, rng: np.random.Generator) -> None:
    shade, wide = float(rng.uniform(0.15, 0.4)), float(rng.uniform(0.12, 0.32))
    cord = float(rng.uniform(0.2, 0.9))
    _shade(parts, rng, (0, 0, 0), wide, shade)
    turned(parts, [(0.008, 0.6 * shade), (0.008, shade + cord)], (0, 0), METAL, sides=8)
    turned(parts, [(0.03, 0.85 * shade), (0.02, shade + 0.05)], (0, 0), METAL, sides=12)
    turned(parts, [(0.03, shade + cord - 0.03), (0.06, shade + cord)], (0, 0), TRIM, sides=16)


def _desk_lamp(parts: Parts, rng: np.random.Generator) -> None:
    """Two straight segments with a joint, or one curve, and a head that points forwards and down."""
    base = _foot(parts, rng, float(rng.uniform(0.07, 0.12)))
    lower, upper = float(rng.uniform(0.2, 0.4)), float(rng.uniform(0.2, 0.38))
    lean, fall = float(rng.uniform(-0.5, 0.25)), float(rng.uniform(-0.3, 0.5))
    foot = np.array([0.0, base - 0.005, 0.0])
    joint = foot + lower * np.array([0, np.cos(lean), np.sin(lean)])
    end = joint + upper * np.array([0, -np.sin(fall), np.cos(fall)])
    if rng.random() < 0.35:
        bar(parts, bend(foot, joint * [1, 1.3, 1], end, 10), 0.01, METAL)
    else:
        bar(parts, np.stack([foot, joint]), 0.011, METAL)
        bar(parts, np.stack([joint, end]), 0.01, METAL)
        pin = np.array([0.02, 0.0, 0.0])
        parts.tube(joint - pin, joint + pin, np.full((2, 2), 0.02), 10, TRIM)
    aim = float(rng.uniform(0.5, 1.4))
    way = np.array([0, -np.sin(aim), np.cos(aim)])
    wide = float(rng.uniform(0.05, 0.1))
    shares, radii = [-0.4, -0.1, 0.3, 1.0], [0.3, 0.45, float(rng.uniform(0.6, 0.95)), 1.0]
    points = np.stack([end + share * 1.5 * wide * way for share in shares])
    bar(parts, points, [wide * radius for radius in radii], MAIN, sides=16)
    bar(parts, np.stack([points[-1] - 0.02 * way, points[-1] + 0.012 * way]), 0.75 * wide, PALE, sides=12)


def _wall_lamp(parts: Parts, rng: np.random.Generator) -> None:
    """A plate on the wall, one or two arms, and their shades."""
    high, reach = float(rng.uniform(0.1, 0.25)), float(rng.uniform(0.08, 0.2))
    shade, wide = float(rng.uniform(0.12, 0.25)), float(rng.uniform(0.06, 0.13))
    parts.box((-0.05, 0, -reach - 0.02), (0.05, high, -reach), MAIN)
    sides = [0.0] if rng.random() < 0.65 else [-0.13, 0.13]
    for x in sides:
        start, end = np.array([0.0, 0.5 * high, -reach - 0.005]), np.array([x, high, 0.0])
        bar(parts, bend(start, np.array([x, 0.2 * high, 0.0]), end), 0.01, METAL)
        turned(parts, [(0.012, high - 0.01), (0.02, high + 0.5 * shade)], (x, 0), PALE, sides=10)
        _shade(parts, rng, (x, high, 0), min(wide, 0.12), shade)


def _lantern(parts: Parts, rng: np.random.Generator) -> None:
    """Posts around glass, a roof and a handle; sometimes a round paper body."""
    wide, high = float(rng.uniform(0.07, 0.16)), float(rng.uniform(0.16, 0.45))
    power = 2.0 if rng.random() < 0.4 else 14.0
    rim = 0.025
    turned(parts, [(1.1 * wide, 0), (1.1 * wide, rim), (wide, 1.6 * rim)], (0, 0), MAIN, power=power, sides=24)
    slot = GLASS if rng.random() < 0.6 else PALE
    bulge = float(rng.uniform(0.8, 1.15))
    body = [(0.85 * wide, rim), (0.85 * wide * bulge, 0.5 * high), (0.85 * wide, high)]
    turned(parts, body, (0, 0), slot, power=power, sides=24)
    count = 4 if power > 2 else int(rng.integers(3, 9))
    reach = (0.92 * wide * np.sqrt(2) * 0.95) if power > 2 else 0.95 * wide
    for angle in 2 * np.pi * (np.arange(count) + 0.5) / count:
        low, top = (np.array([reach * np.cos(angle), y, reach * np.sin(angle)]) for y in (rim, high))
        parts.tube(low, top, np.full((2, 2), 0.06 * wide), 4, MAIN)
    peak = high + wide * float(rng.uniform(0.3, 1.0))
    turned(
        parts,
        [(1.15 * wide, high - 0.005), (1.15 * wide, high + 0.015), (0.25 * wide, peak)],
        (0, 0),
        MAIN,
        power=power,
        sides=24,
    )
    arch = 0.55 * wide * np.stack([np.cos(np.linspace(0, np.pi, 9)), np.sin(np.linspace(0, np.pi, 9)), np.zeros(9)], 1)
    bar(parts, arch * [0.5, float(rng.uniform(1, 2)), 1] + [0, peak - 0.01, 0], 0.006, METAL)


def _chandelier(parts: Parts, rng: np.random.Generator) -> None:
    """Arms around a column, each with a candle or a small shade."""
    count, reach = int(rng.integers(3, 9)), float(rng.uniform(0.2, 0.45))
    column = float(rng.uniform(0.2, 0.45))
    turned_leg(parts, drawn_profile(rng), (0, 0), (0.0, column), 0.045, MAIN)
    turned(parts, [(0.008, column - 0.02), (0.008, column + float(rng.uniform(0.2, 0.6)))], (0, 0), METAL, sides=8)
    rise, dip = float(rng.uniform(0.0, 0.15)), float(rng.uniform(-0.2, 0.1))
    candle, form = float(rng.uniform(0.07, 0.12)), pick(rng, candle=1, shade=1, globe=1)
    for angle in 2 * np.pi * np.arange(count) / count:
        out = np.array([np.cos(angle), 0, np.sin(angle)])
        start, end = 0.02 * out + [0, 0.3 * column, 0], reach * out + [0, 0.3 * column + rise, 0]
        bar(parts, bend(start, 0.6 * reach * out + [0, 0.3 * column + dip, 0], end), 0.009, MAIN)
        x, y, z = (float(value) for value in end)
        turned(parts, [(0.025, y - 0.005), (0.03, y + 0.015)], (x, z), METAL, sides=10)
        if form == "shade":
            turned(
                parts,
                [(0.06, y + 0.03), (0.035, y + 0.03 + candle), (0.025, y + 0.03 + candle), (0.05, y + 0.03)],
                (x, z),
                ACCENT,
                hollow=True,
                sides=14,
            )
        swell = 0.04 if form == "globe" else 0.014
        turned(parts, [(0.012, y), (swell, y + 0.5 * candle), (0.006, y + candle)], (x, z), PALE, sides=10)


def _street_lamp(parts: Parts, rng: np.random.Generator) -> None:
    """A post with a head on top, or on an arm."""
    high, thick = float(rng.uniform(2.2, 4.0)), float(rng.uniform(0.04, 0.08))
    turned(parts, [(2.2 * thick, 0), (2 * thick, 0.08), (thick, 0.16), (0.7 * thick, high)], (0, 0), MAIN, sides=12)
    head = float(rng.uniform(0.16, 0.3))
    if rng.random() < 0.4:
        reach = float(rng.uniform(0.3, 0.8))
        bar(
            parts,
            bend(np.array([0, high - 0.1, 0]), np.array([0, high + 0.3, 0]), np.array([0, high + 0.2, reach])),
            0.6 * thick,
            MAIN,
        )
        parts.box((-0.5 * head, high + 0.15, reach - 0.1), (0.5 * head, high + 0.27, reach + 1.2 * head), METAL)
        return
    turned(
        parts,
        [(0.5 * head, high - 0.01), (0.8 * head, high + 1.4 * head)],
        (0, 0),
        GLASS,
        power=float(rng.choice([2, 14])),
    )
    turned(parts, [(0.6 * head, high - 0.03), (0.5 * head, high)], (0, 0), MAIN)
    turned(parts, [(head, high + 1.4 * head - 0.01), (0.1 * head, high + 2.1 * head)], (0, 0), MAIN)
