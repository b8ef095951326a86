"""Procedural tables and desks: tops of several outlines on legs, trestles, pedestals or panels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from raylift.data.sources.procedural_furniture.fittings import drawer, drawn_profile, pick, turned_leg
from raylift.data.sources.procedural_furniture.looks import GLASS, MAIN, TRIM
from raylift.data.sources.procedural_furniture.solids import bar, bend, turned
from raylift.data.sources.procedural_parts import Parts

STYLES = {
    "table": 3.0,
    "round table": 1.5,
    "oval table": 1.0,
    "coffee table": 2.0,
    "bar table": 1.0,
    "desk": 2.0,
    "bedside table": 1.0,
    "side table": 1.0,
}
_SIZES = {
    "table": ((0.68, 0.80), (0.8, 2.3), (0.42, 1.0)),
    "round table": ((0.60, 0.80), (0.6, 1.6), (1.0, 1.0)),
    "oval table": ((0.68, 0.78), (1.1, 2.2), (0.5, 0.8)),
    "coffee table": ((0.26, 0.50), (0.6, 1.5), (0.4, 1.0)),
    "bar table": ((0.95, 1.15), (0.5, 1.4), (0.5, 1.0)),
    "side table": ((0.45, 0.75), (0.35, 0.6), (0.7, 1.0)),
}
"""Heights, lengths in metres, and depths as fractions of the length."""


@dataclass(frozen=True)
class _Frame:
    """What a support has to fit under: half length, half depth and lower side of the top."""

    x: float
    z: float
    y: float
    round: bool


def build_table(parts: Parts, style: str, rng: np.random.Generator) -> None:
    """Add a table of a style, standing on y = 0, its length along X; drawers and the sitter's side face +Z."""
    if style == "desk":
        _desk(parts, rng)
    elif style == "bedside table":
        _bedside(parts, rng)
    else:
        _table(parts, style, rng)


def _table(parts: Parts, style: str, rng: np.random.Generator) -> None:
    high, long, share = (float(rng.uniform(*limits)) for limits in _SIZES[style])
    thick = float(rng.uniform(0.018, 0.06))
    rounded = style in ("round table", "oval table") or rng.random() < (0.1 if style == "table" else 0.3)
    power = 2.0 if rounded else float(rng.choice([3.5, 8.0, 60.0], p=[0.15, 0.25, 0.6]))
    frame = _Frame(long / 2, long / 2 * share, high - thick, power < 5)
    _top(parts, rng, frame, high, power)
    legs = pick(
        rng, legs=4, pedestal=3.5 if rounded else 1, trestle=0 if rounded else 1.2, panels=0 if rounded else 1, drum=0.4
    )
    {"legs": _legs, "pedestal": _pedestal, "trestle": _trestle, "panels": _panels, "drum": _drum}[legs](
        parts, rng, frame
    )


def _top(parts: Parts, rng: np.random.Generator, frame: _Frame, high: float, power: float) -> None:
    slot = GLASS if rng.random() < 0.12 else MAIN
    if power > 20:
        parts.box((-frame.x, frame.y, -frame.z), (frame.x, high, frame.z), slot)
        return
    edge = float(rng.uniform(0.1, 0.5)) * (high - frame.y)
    profile = [(1 - edge, frame.y), (1.0, frame.y + edge), (1.0, high - edge), (1 - edge, high)]
    turned(parts, profile, (0.0, 0.0), slot, aspect=(frame.x, frame.z), power=power, sides=32)


def _legs(parts: Parts, rng: np.random.Generator, frame: _Frame) -> None:
    """Four legs, with an apron, a shelf or stretchers between them."""
    kind = pick(rng, square=2, round=1.5, tapered=1.5, splayed=1.5, turned=1, curved=0.7)
    width = float(rng.uniform(0.014, 0.045)) * (1.3 if frame.y > 0.5 else 1.0)
    inset = float(rng.uniform(0.0, 0.08)) + 1.5 * width
    x, z = (0.66 * frame.x, 0.66 * frame.z) if frame.round else (frame.x - inset, frame.z - inset)
    spread = float(rng.uniform(0.03, 0.12)) if kind in ("splayed", "curved") else 0.0
    radii = drawn_profile(rng)
    for side in (-1.0, 1.0):
        for end in (-1.0, 1.0):
            top, foot = (side * x, frame.y + 0.005, end * z), (side * (x + spread), 0.0, end * (z + spread))
            if kind == "turned":
                turned_leg(parts, radii, (top[0], top[2]), (0.0, top[1]), width, TRIM)
            else:
                _leg(parts, kind, np.array(top), np.array(foot), width)
    if kind in ("square", "round", "tapered", "turned") and rng.random() < 0.65:
        _apron(parts, rng, frame, x, z)
    if rng.random() < (0.45 if frame.y < 0.6 else 0.15):
        y = frame.y * float(rng.uniform(0.15, 0.5))
        parts.box((-x, y, -z), (x, y + float(rng.uniform(0.012, 0.03)), z), int(rng.choice([MAIN, TRIM, GLASS])))
    elif kind in ("square", "round", "turned") and rng.random() < 0.25:
        _stretchers(parts, frame, x, z, width)


def _leg(parts: Parts, kind: str, top: np.ndarray, foot: np.ndarray, width: float) -> None:
    """A straight leg, or one bent towards the middle of the table."""
    if kind == "curved":
        middle = 0.5 * (top + foot) - [0.45 * top[0], 0, 0.45 * top[2]]
        bar(parts, bend(top, middle, foot), 0.7 * width, TRIM)
        return
    narrow = 0.55 * width if kind in ("tapered", "splayed") else width
    parts.tube(foot, top, np.array([[narrow] * 2, [width] * 2]), 4 if kind in ("square", "tapered") else 10, TRIM)


def _apron(parts: Parts, rng: np.random.Generator, frame: _Frame, x: float, z: float) -> None:
    deep = min(float(rng.uniform(0.05, 0.14)), 0.4 * frame.y)
    low, high = frame.y - deep, frame.y + 0.005
    parts.box((-x, low, -z), (x, high, z), TRIM)
    if rng.random() < 0.4 and deep > 0.07 and not frame.round:
        count = int(rng.integers(1, 3)) if x > 0.35 else 1
        kind = pick(rng, knob=2, bar=1, grip=1)
        edges = np.linspace(-0.9 * x, 0.9 * x, count + 1)
        for left, right in pairwise(edges.tolist()):
            drawer(parts, (left, low + 0.01), (right, frame.y - 0.01), z, MAIN, kind)


def _stretchers(parts: Parts, frame: _Frame, x: float, z: float, width: float) -> None:
    y, half = 0.25 * frame.y, 0.6 * width
    for side in (-x, x):
        parts.box((side - half, y - half, -z), (side + half, y + half, z), TRIM)
    parts.box((-x, y - half, -half), (x, y + half, half), TRIM)


def _pedestal(parts: Parts, rng: np.random.Generator, frame: _Frame) -> None:
    """A column under the middle, on a plate or on three to five feet."""
    least = min(frame.x, frame.z)
    width = float(rng.uniform(0.025, 0.16)) * (0.6 + least)
    lift = float(rng.uniform(0.02, 0.07))
    if rng.random() < 0.5:
        turned_leg(parts, drawn_profile(rng), (0, 0), (lift - 0.01, frame.y + 0.005), width, TRIM)
    else:
        turned(parts, [(width, lift - 0.01), (width * 0.8, frame.y + 0.005)], (0, 0), TRIM)
    reach = float(rng.uniform(0.5, 0.85)) * least
    if rng.random() < 0.5:
        turned(
            parts,
            [(reach, 0), (reach, 0.5 * lift), (min(width * 1.2, reach), 2 * lift)],
            (0, 0),
            TRIM,
            power=float(rng.choice([2, 8])),
        )
        return
    count = int(rng.integers(3, 6))
    rise = float(rng.uniform(1.5, 5.0)) * lift
    for angle in 2 * np.pi * (np.arange(count) + 0.5) / count:
        cos, sin = float(np.cos(angle)), float(np.sin(angle))
        points = [
            (0.0, rise + lift, 0.0),
            (0.5 * reach * cos, rise, 0.5 * reach * sin),
            (reach * cos, 0.5 * lift, reach * sin),
        ]
        bar(parts, points, [0.6 * lift, 0.55 * lift, 0.45 * lift], TRIM)


def _trestle(parts: Parts, rng: np.random.Generator, frame: _Frame) -> None:
    """An A or X frame at either end, and a beam between them."""
    half = float(rng.uniform(0.02, 0.04))
    x, z = frame.x * float(rng.uniform(0.6, 0.85)), 0.85 * frame.z
    crossed = rng.random() < 0.4
    for side in (-x, x):
        for end in (-1.0, 1.0):
            foot = np.array([side, 0.0, end * z])
            top = np.array([side, frame.y + 0.005, -end * 0.8 * z if crossed else end * 0.25 * z])
            parts.tube(foot, top, np.full((2, 2), half), 4, TRIM)
        parts.box((side - half, frame.y - 2 * half, -0.85 * z), (side + half, frame.y + 0.005, 0.85 * z), TRIM)
    y = frame.y * float(rng.uniform(0.3, 0.55))
    parts.box((-x, y - half, -half), (x, y + half, half), TRIM)


def _panels(parts: Parts, rng: np.random.Generator, frame: _Frame) -> None:
    """A panel or a loop at either end, and sometimes a shelf or a back between them."""
    half, x = float(rng.uniform(0.012, 0.05)), frame.x * float(rng.uniform(0.75, 1.0))
    z = 0.96 * frame.z
    loops = rng.random() < 0.4
    for side in (-x + half, x - half):
        if loops:
            path = [
                (side, frame.y, -z + half),
                (side, half, -z + half),
                (side, half, z - half),
                (side, frame.y, z - half),
            ]
            bar(parts, path, half, TRIM, sides=4 if half > 0.03 else 8)
        else:
            parts.box((side - half, 0, -z), (side + half, frame.y + 0.005, z), TRIM)
    if rng.random() < 0.5:
        y = frame.y * float(rng.uniform(0.12, 0.6))
        parts.box((-x + half, y, -z + 2 * half), (x - half, y + 0.025, z - 2 * half), MAIN)
    if not loops and rng.random() < 0.3:
        parts.box((-x, 0.3 * frame.y, -z + 0.04), (x, frame.y + 0.005, -z + 0.06), TRIM)


def _drum(parts: Parts, rng: np.random.Generator, frame: _Frame) -> None:
    """A solid body that tapers."""
    power = 2.0 if frame.round else 8.0
    foot, waist = (float(share) for share in rng.uniform(0.45, 0.95, 2))
    profile = [(foot, 0.0), (waist, 0.5 * frame.y), (float(rng.uniform(0.5, 0.9)), frame.y + 0.005)]
    turned(parts, profile, (0, 0), TRIM, aspect=(frame.x, frame.z), power=power, sides=24)


def _desk(parts: Parts, rng: np.random.Generator) -> None:
    """A top over one or two blocks of drawers, a panel or legs at the free end; the sitter faces -Z."""
    x, z, high = float(rng.uniform(0.5, 0.95)), float(rng.uniform(0.25, 0.42)), float(rng.uniform(0.70, 0.80))
    thick = float(rng.uniform(0.02, 0.05))
    under = high - thick
    parts.box((-x, under, -z), (x, high, z), MAIN)
    blocks = [1.0, -1.0][: 2 if x > 0.7 and rng.random() < 0.35 else 1]
    if rng.random() < 0.5:
        blocks = [-side for side in blocks]
    wide = float(rng.uniform(0.28, 0.42))
    foot = 0.0 if rng.random() < 0.5 else float(rng.uniform(0.04, 0.4))
    count, kind = int(rng.integers(1, 5)), pick(rng, knob=1, bar=2, grip=1)
    for side in blocks:
        left = x - wide - 0.01 if side > 0 else -x + 0.01
        parts.box((left, foot, -0.95 * z), (left + wide, under + 0.005, 0.94 * z), TRIM)
        edges = np.linspace(foot + 0.01, under - 0.01, count + 1).tolist()
        for low, top in pairwise(edges):
            drawer(parts, (left, low), (left + wide, top), 0.94 * z, MAIN, kind)
    width = float(rng.uniform(0.014, 0.03))
    panel = rng.random() < 0.5
    for side in (-1.0, 1.0):
        if side in blocks and foot == 0.0:
            continue
        at = side * (x - 1.5 * width)
        if panel:
            parts.box((at - width, 0, -0.95 * z), (at + width, under + 0.005, 0.92 * z), TRIM)
            continue
        for end in (-0.88 * z, 0.88 * z):
            parts.tube(np.array([at, 0, end]), np.array([at, under + 0.005, end]), np.full((2, 2), width), 4, TRIM)
    if rng.random() < 0.7:  # the modesty panel
        parts.box(
            (-x + 0.02, under * float(rng.uniform(0.1, 0.6)), -0.9 * z),
            (x - 0.02, under + 0.005, -0.9 * z + 0.02),
            TRIM,
        )
    if rng.random() < 0.3:
        _hutch(parts, rng, x, z, high)


def _hutch(parts: Parts, rng: np.random.Generator, x: float, z: float, high: float) -> None:
    """Shelves on the back of a desk."""
    top, deep = high + float(rng.uniform(0.2, 0.6)), float(rng.uniform(0.15, 0.25))
    for at in np.linspace(-x + 0.012, x - 0.012, int(rng.integers(2, 5))).tolist():
        parts.box((at - 0.012, high - 0.005, -z), (at + 0.012, top, -z + deep), MAIN)
    for y in np.linspace(top, high, int(rng.integers(1, 3)), endpoint=False).tolist():
        parts.box((-x, y - 0.02, -z), (x, y, -z + deep), MAIN)
    if rng.random() < 0.5:
        parts.box((-x, high - 0.005, -z), (x, top - 0.005, -z + 0.012), TRIM)


def _bedside(parts: Parts, rng: np.random.Generator) -> None:
    """A small body with drawers at the front, or an open compartment over a drawer."""
    x, z, high = float(rng.uniform(0.18, 0.3)), float(rng.uniform(0.16, 0.25)), float(rng.uniform(0.4, 0.68))
    foot = float(rng.uniform(0.03, 0.25)) if rng.random() < 0.7 else 0.0
    wall = 0.018
    parts.box((-x, high - 0.03, -z), (x, high, z + 0.015), MAIN)
    for side in (-1.0, 1.0):
        parts.box((side * x - wall * (side > 0), foot, -z), (side * x + wall * (side < 0), high - 0.02, z), MAIN)
        for end in (-1.0, 1.0):
            at = np.array([side * (x - 0.02), 0.0, end * (z - 0.02)])
            parts.tube(at, at * [1, 0, 1] + [0, foot + 0.02, 0], np.array([[0.012] * 2, [0.02] * 2]), 4, TRIM)
    parts.box((-x, foot, -z), (x, foot + wall, z), MAIN)
    parts.box((-x, foot, -z), (x, high - 0.02, -z + wall), MAIN)
    count, open_one = int(rng.integers(1, 4)), rng.random() < 0.4
    kind = pick(rng, knob=2, bar=1, grip=1)
    edges = np.linspace(foot + wall, high - 0.035, count + 1 + open_one).tolist()
    for number, (low, top) in enumerate(pairwise(edges)):
        parts.box((-x, top - 0.01, -z), (x, top + 0.005, z - 0.005), MAIN)
        if not (open_one and number == 0):
            parts.box((-x + 0.01, low, -z), (x - 0.01, top, z - 0.005), MAIN)
            drawer(parts, (-x, low), (x, top), z, TRIM, kind)
