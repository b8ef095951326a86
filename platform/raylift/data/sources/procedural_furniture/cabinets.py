"""Procedural cabinets: wardrobes, chests of drawers, bookshelves, sideboards and cupboards.

A body is divided into columns, a column into cells: each has a door, a pane, drawers, or is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from raylift.data.sources.procedural_furniture.fittings import drawer, four_feet, handle, pick
from raylift.data.sources.procedural_furniture.looks import ACCENT, CLOTH, GLASS, MAIN, METAL, PALE, TRIM
from raylift.data.sources.procedural_furniture.solids import turned
from raylift.data.sources.procedural_parts import Parts

STYLES = {
    "wardrobe": 2.5,
    "chest of drawers": 2.0,
    "bookshelf": 2.0,
    "sideboard": 1.5,
    "cupboard": 1.5,
    "glass cabinet": 1.2,
    "television cabinet": 1.0,
    "filing cabinet": 0.7,
    "wall cabinet": 1.0,
}
_SIZES = {
    "wardrobe": ((0.7, 2.4), (1.6, 2.4), (0.45, 0.68)),
    "chest of drawers": ((0.4, 1.6), (0.6, 1.3), (0.35, 0.55)),
    "bookshelf": ((0.35, 1.8), (0.8, 2.3), (0.22, 0.4)),
    "sideboard": ((1.1, 2.2), (0.6, 1.0), (0.35, 0.5)),
    "cupboard": ((0.5, 1.3), (1.1, 2.1), (0.35, 0.6)),
    "glass cabinet": ((0.4, 1.3), (0.9, 2.1), (0.3, 0.5)),
    "television cabinet": ((1.0, 2.2), (0.3, 0.7), (0.35, 0.5)),
    "filing cabinet": ((0.38, 0.9), (0.5, 1.4), (0.45, 0.65)),
    "wall cabinet": ((0.3, 1.2), (0.4, 0.9), (0.25, 0.4)),
}
"""Widths, heights and depths in metres."""

_CELLS = {
    "wardrobe": {"door": 0.8, "drawer": 0.1, "glass": 0.05, "open": 0.05},
    "chest of drawers": {"drawer": 1.0},
    "bookshelf": {"open": 0.92, "door": 0.08},
    "sideboard": {"door": 0.5, "drawer": 0.35, "open": 0.15},
    "cupboard": {"door": 0.6, "drawer": 0.2, "open": 0.1, "glass": 0.1},
    "glass cabinet": {"glass": 0.85, "drawer": 0.15},
    "television cabinet": {"open": 0.4, "drawer": 0.4, "door": 0.2},
    "filing cabinet": {"drawer": 1.0},
    "wall cabinet": {"door": 0.75, "glass": 0.25},
}
"""Chances of what a cell has."""


@dataclass(frozen=True)
class _Body:
    """What all cells of a cabinet share: half width and half depth, lower and upper end, boards, fittings."""

    x: float
    z: float
    low: float
    high: float
    wall: float
    front: int
    handles: str
    framed: bool


def build_cabinet(parts: Parts, style: str, rng: np.random.Generator) -> None:
    """Add a cabinet of a style, standing on y = 0, its doors and drawers facing +Z."""
    wide, high, deep = (float(rng.uniform(*limits)) for limits in _SIZES[style])
    base = "none" if style in ("wall cabinet", "filing cabinet") else pick(rng, plinth=1.5, feet=1.5, legs=1, none=1)
    lift = {"plinth": (0.04, 0.1), "feet": (0.04, 0.12), "legs": (0.12, 0.3), "none": (0.0, 0.0)}[base]
    foot = float(rng.uniform(*lift)) * (1.0 if high > 0.5 or base != "legs" else 0.6)
    body = _Body(
        x=wide / 2,
        z=deep / 2,
        low=foot,
        high=high,
        wall=float(rng.uniform(0.014, 0.035)),
        front=int(rng.choice([MAIN, TRIM, ACCENT], p=[0.55, 0.38, 0.07])),
        handles=pick(rng, knob=1.5, bar=2, grip=1, none=0.5),
        framed=bool(rng.random() < 0.4),
    )
    _stand(parts, rng, body, base)
    _carcass(parts, rng, body, style)
    count = _columns(style, wide, rng)
    edges = _shares(rng, count, 0.25 if style in ("sideboard", "bookshelf", "cupboard") else 0.0)
    kinds = _CELLS[style]
    spread = partial(_cells, kinds=kinds, style=style)
    same = rng.random() < 0.6
    plan = spread(rng, body)
    for number in range(count):
        left, right = (-body.x + 2 * body.x * float(edges[number + shift]) for shift in (0, 1))
        if number:
            parts.box((left - body.wall / 2, body.low, -body.z), (left + body.wall / 2, body.high, body.z - 0.01), MAIN)
        if not same:
            plan = spread(rng, body)
        _fill(parts, rng, body, (left, right), plan, number % 2 == 1)


def _columns(style: str, wide: float, rng: np.random.Generator) -> int:
    narrowest, widest = {"wardrobe": (0.4, 0.8), "chest of drawers": (0.4, 1.2)}.get(style, (0.35, 0.9))
    return max(1, round(wide / float(rng.uniform(narrowest, widest))))


def _shares(rng: np.random.Generator, count: int, uneven: float) -> np.ndarray:
    """Cumulative shares from 0 to 1, [count + 1]."""
    sizes = 1 + uneven * rng.uniform(-1, 1, count)
    return np.concatenate([[0.0], np.cumsum(sizes / sizes.sum())])


def _stand(parts: Parts, rng: np.random.Generator, body: _Body, base: str) -> None:
    if base == "plinth":
        parts.box((-body.x + 0.02, 0, -body.z), (body.x - 0.02, body.low + 0.01, body.z - 0.03), TRIM)
    elif base != "none":
        four_feet(parts, rng, (body.x, body.z), body.low, float(rng.uniform(0.015, 0.035)), TRIM)


def _carcass(parts: Parts, rng: np.random.Generator, body: _Body, style: str) -> None:
    """Sides, floor, back and top; a cornice or an overhanging top."""
    x, z, w = body.x, body.z, body.wall
    parts.box((-x, body.low, -z), (-x + w, body.high, z), MAIN)
    parts.box((x - w, body.low, -z), (x, body.high, z), MAIN)
    parts.box((-x, body.low, -z), (x, body.low + w, z), MAIN)
    parts.box((-x, body.low, -z), (x, body.high, -z + 0.012), TRIM if style == "bookshelf" else MAIN)
    over = float(rng.uniform(0.0, 0.04)) if rng.random() < 0.6 and style != "filing cabinet" else 0.0
    thick = float(rng.uniform(0.02, 0.06))
    slot = int(rng.choice([MAIN, TRIM]))
    parts.box((-x - over, body.high - 0.01, -z), (x + over, body.high + thick, z + over + 0.014), slot)
    if style in ("wardrobe", "cupboard", "glass cabinet") and rng.random() < 0.3:
        top = body.high + thick
        profile = [(1.0, top - 0.01), (1.06, top + 0.03), (1.06, top + 0.06)]
        turned(parts, profile, (0, 0), slot, aspect=(x, z), power=60, sides=24)


def _cells(rng: np.random.Generator, body: _Body, *, kinds: dict[str, float], style: str) -> list[tuple[str, float]]:
    """What a column has, from below: kinds and cumulative upper ends as shares of the height."""
    high = body.high - body.low
    cell = {
        "wardrobe": 1.6,
        "chest of drawers": 0.2,
        "bookshelf": 0.33,
        "filing cabinet": 0.32,
        "cupboard": 0.6,
        "glass cabinet": 0.8,
        "sideboard": 0.45,
    }.get(style, 0.5)
    count = min(9, max(1, round(high / (cell * float(rng.uniform(0.75, 1.35))))))
    drawn = [pick(rng, **kinds) for _ in range(count)]
    sizes = [float(rng.uniform(0.25, 0.45)) if kind == "drawer" and "door" in drawn else 1.0 for kind in drawn]
    order = sorted(range(count), key=lambda number: (drawn[number] == "glass", drawn[number] == "open"))
    if style in ("wardrobe", "cupboard", "glass cabinet"):  # panes are above doors, and drawers below
        order = sorted(order, key=lambda number: ("drawer", "door", "open", "glass").index(drawn[number]))
    ends = np.cumsum([sizes[number] for number in order]) / sum(sizes)
    return [(drawn[number], float(end)) for number, end in zip(order, ends, strict=True)]


def _fill(
    parts: Parts,
    rng: np.random.Generator,
    body: _Body,
    span: tuple[float, float],
    plan: list[tuple[str, float]],
    mirrored: bool,
) -> None:
    """The cells of the column between two x."""
    bottom = body.low
    left, right = span
    for kind, share in plan:
        top = body.low + share * (body.high - body.low)
        if share < 1:
            half = body.wall / 2
            parts.box((left, top - half, -body.z), (right, top + half, body.z - 0.012), MAIN)
        if kind == "drawer":
            count = 2 if right - left > 0.7 and rng.random() < 0.5 else 1
            drawer(parts, (left, bottom), (right, top), body.z, body.front, body.handles, count)
        elif kind == "door":
            _door(parts, body, (left, bottom), (right, top), mirrored)
        elif kind == "glass":
            _pane(parts, body, (left, bottom), (right, top), mirrored)
            _contents(parts, rng, body, (left, bottom), (right, top), 0.4)
        else:
            _contents(parts, rng, body, (left, bottom), (right, top), 0.75)
        bottom = top


def _door(parts: Parts, body: _Body, low: tuple[float, float], high: tuple[float, float], mirrored: bool) -> None:
    """One door with its handle, or two for a wide cell; a raised field if the cabinet's doors have one."""
    if high[0] - low[0] > 0.75:
        middle = (low[0] + high[0]) / 2
        _door(parts, body, low, (middle, high[1]), False)
        _door(parts, body, (middle, low[1]), high, True)
        return
    gap, z = 0.005, body.z
    parts.box((low[0] + gap, low[1] + gap, z - 0.02), (high[0] - gap, high[1] - gap, z + 0.012), body.front)
    if body.framed:
        edge = 0.16 * min(high[0] - low[0], high[1] - low[1])
        slot = MAIN if body.front == TRIM else TRIM
        parts.box((low[0] + edge, low[1] + edge, z), (high[0] - edge, high[1] - edge, z + 0.02), slot)
    x = low[0] + 0.045 if mirrored else high[0] - 0.045
    tall = high[1] - low[1]
    handle(parts, body.handles, (x, low[1] + 0.52 * tall, z + 0.012), min(0.25, 0.4 * tall), upright=True)


def _pane(parts: Parts, body: _Body, low: tuple[float, float], high: tuple[float, float], mirrored: bool) -> None:
    """A framed pane of glass, and its handle."""
    edge, z = 0.045, body.z
    parts.box((low[0] + 0.01, low[1] + 0.01, z - 0.008), (high[0] - 0.01, high[1] - 0.01, z - 0.002), GLASS)
    for x in (low[0] + 0.004, high[0] - 0.004 - edge):
        parts.box((x, low[1], z - 0.015), (x + edge, high[1], z + 0.012), body.front)
    for y in (low[1] + 0.004, high[1] - 0.004 - edge):
        parts.box((low[0], y, z - 0.014), (high[0], y + edge, z + 0.011), body.front)
    x = low[0] + 0.03 if mirrored else high[0] - 0.03
    handle(parts, body.handles, (x, (low[1] + high[1]) / 2, z + 0.01), 0.12, upright=True)


def _contents(
    parts: Parts,
    rng: np.random.Generator,
    body: _Body,
    low: tuple[float, float],
    high: tuple[float, float],
    fullness: float,
) -> None:
    """Books, upright from the left, or a box or a vase; a share of the cells stays empty."""
    left, right = low[0] + body.wall / 2, high[0] - body.wall / 2
    floor, room = low[1] + body.wall / 2 - 0.004, high[1] - low[1] - body.wall
    draw = rng.random()
    if draw > fullness or room < 0.08:
        return
    if draw < 0.6 * fullness:
        end = left + (right - left) * float(rng.uniform(0.3, 1.0))
        x = left
        while x < end - 0.09:
            thick = float(rng.uniform(0.03, 0.08))
            tall = min(0.92 * room, 0.32) * float(rng.uniform(0.65, 1.0))
            slot = int(rng.choice([CLOTH, ACCENT, TRIM, PALE]))
            parts.box((x, floor, -0.9 * body.z), (x + thick - 0.003, floor + tall, body.z * 0.6), slot)
            x += thick
        return
    middle, wide = (left + right) / 2, 0.25 * (right - left)
    if draw < 0.8 * fullness:
        parts.box((middle - wide, floor, -0.6 * body.z), (middle + wide, floor + 0.5 * room, 0.7 * body.z), ACCENT)
    else:
        radius = min(wide, 0.6 * body.z, 0.12)
        profile = [(0.5 * radius, floor), (radius, floor + 0.3 * room), (0.4 * radius, floor + 0.7 * room)]
        turned(parts, profile, (middle, 0), int(rng.choice([METAL, CLOTH])), sides=12)
