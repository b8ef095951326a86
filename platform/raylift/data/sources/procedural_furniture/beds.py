"""Procedural beds: frames with headboards and footboards, mattresses, covers and pillows; bunk beds and cradles."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from raylift.data.sources.procedural_furniture.fittings import drawer, drawn_profile, four_feet, pick, turned_leg
from raylift.data.sources.procedural_furniture.looks import ACCENT, CLOTH, MAIN, METAL, PALE, TRIM
from raylift.data.sources.procedural_furniture.solids import bar, board, cushion
from raylift.data.sources.procedural_parts import Parts

STYLES = {
    "double bed": 3.0,
    "single bed": 2.0,
    "child bed": 1.0,
    "day bed": 0.7,
    "four-poster bed": 0.8,
    "bunk bed": 0.6,
    "cradle bed": 0.8,
}
_WIDTHS = {"double bed": (1.3, 2.0), "four-poster bed": (1.3, 1.9), "child bed": (0.7, 0.9), "cradle bed": (0.55, 0.75)}


@dataclass(frozen=True)
class _Plan:
    """Half width and half length, heights of the frame's lower and upper edge and of the mattress, in metres."""

    x: float
    z: float
    foot: float
    rail: float
    top: float

    @staticmethod
    def draw(style: str, rng: np.random.Generator) -> _Plan:
        long = {"child bed": (1.4, 1.75), "cradle bed": (1.0, 1.35)}.get(style, (1.85, 2.2))
        foot = float(rng.uniform(0.0, 0.28))
        rail = foot + float(rng.uniform(0.1, 0.28))
        return _Plan(
            float(rng.uniform(*_WIDTHS.get(style, (0.8, 1.1)))) / 2,
            float(rng.uniform(*long)) / 2,
            foot,
            rail,
            rail + float(rng.uniform(0.08, 0.24)),
        )


def build_bed(parts: Parts, style: str, rng: np.random.Generator) -> None:
    """Add a bed of a style, standing on y = 0: its length along Z, the headboard at -Z and the foot at +Z."""
    plan = _Plan.draw(style, rng)
    if style == "bunk bed":
        _bunk(parts, rng, plan)
        return
    if style == "cradle bed":
        _cradle(parts, rng, plan)
        return
    _frame(parts, rng, plan)
    _bedding(parts, rng, plan)
    head = plan.top + float(rng.uniform(0.25, 0.85))
    kind = pick(rng, panel=2.5, upholstered=2, slats=1, bars=1, rails=0.7)
    _end_board(parts, rng, plan, -1.0, kind, head)
    if style == "four-poster bed":
        _posts(parts, rng, plan)
    if rng.random() < 0.5:
        kind = "panel" if kind == "upholstered" else kind
        _end_board(parts, rng, plan, 1.0, kind, plan.rail + (head - plan.rail) * float(rng.uniform(0.25, 0.6)))
    if style == "day bed":
        cushion(parts, (-plan.x - 0.05, plan.foot, -plan.z), (-plan.x + 0.05, head, plan.z), MAIN, bevel=0.02)


def _frame(parts: Parts, rng: np.random.Generator, plan: _Plan) -> None:
    """Rails around the mattress on feet, or a box on the ground with drawers in its sides."""
    x, z = plan.x + float(rng.uniform(0.01, 0.06)), plan.z + 0.02
    slot = int(rng.choice([MAIN, CLOTH, ACCENT], p=[0.7, 0.15, 0.15]))
    parts.box((-x, plan.foot, -z), (x, plan.rail, z), slot)
    if plan.foot > 0.03:
        four_feet(parts, rng, (x, z), plan.foot, float(rng.uniform(0.02, 0.045)), TRIM)
        return
    if rng.random() < 0.5:
        _side_drawers(parts, rng, plan, x)


def _side_drawers(parts: Parts, rng: np.random.Generator, plan: _Plan, x: float) -> None:
    """Drawers at the right side: made facing +Z, then turned to +X."""
    made = Parts()
    edges = np.linspace(-0.9 * plan.z, 0.9 * plan.z, int(rng.integers(2, 4))).tolist()
    kind = pick(rng, knob=1, bar=1, grip=1)
    for left, right in pairwise(edges):
        drawer(made, (left, plan.foot + 0.02), (right, plan.rail - 0.02), x, TRIM, kind)
    offset = 0
    for vertices, faces, uvs, slots in zip(made.vertices, made.faces, made.uvs, made.materials, strict=True):
        parts.add(vertices[:, [2, 1, 0]] * [1, 1, -1], faces - offset, uvs, int(slots[0]))
        offset += len(vertices)


def _bedding(parts: Parts, rng: np.random.Generator, plan: _Plan) -> None:
    """Mattress, cover with a folded edge, sometimes a blanket at the foot, and pillows at the head."""
    x, z, top = plan.x, plan.z, plan.top
    cushion(parts, (-x, plan.rail - 0.05, -z), (x, top, z), PALE, bevel=0.05)
    start = -z + 2 * z * float(rng.uniform(0.1, 0.45))
    hang, loft = plan.rail - float(rng.uniform(-0.06, 0.12)), float(rng.uniform(0.02, 0.07))
    cushion(parts, (-x - 0.03, hang, start), (x + 0.03, top + loft, z + 0.03), CLOTH, bevel=0.06)
    if rng.random() < 0.5:
        low, high = (
            (-x - 0.035, hang, start - 0.01),
            (x + 0.035, top + loft + 0.012, start + float(rng.uniform(0.12, 0.3))),
        )
        cushion(parts, low, high, int(rng.choice([PALE, ACCENT])), bevel=0.06)
    if rng.random() < 0.3:
        at = z * float(rng.uniform(0.2, 0.6))
        high = (x + 0.04, top + loft + 0.02, at + float(rng.uniform(0.25, 0.5)))
        cushion(parts, (-x - 0.04, hang - 0.02, at), high, ACCENT, bevel=0.06)
    _pillows(parts, rng, plan)


def _pillows(parts: Parts, rng: np.random.Generator, plan: _Plan) -> None:
    count = 1 if plan.x < 0.6 else 2
    deep = min(float(rng.uniform(0.3, 0.45)), 0.4 * plan.z)
    tilt, thick = float(rng.choice([0.0, 0.5, 1.0])), float(rng.uniform(0.1, 0.18))
    slot = int(rng.choice([PALE, CLOTH, ACCENT], p=[0.7, 0.15, 0.15]))
    edges = np.linspace(-0.94 * plan.x, 0.94 * plan.x, count + 1).tolist()
    for left, right in pairwise(edges):
        start = -plan.z + 0.03
        rise = 0.35 * deep * np.sin(tilt)
        low, high = (left + 0.03, plan.top - 0.02 + rise, start), (right - 0.03, plan.top + thick + rise, start + deep)
        cushion(parts, low, high, slot, bevel=0.48 * thick, tilt=-tilt)
        if count == 2 and rng.random() < 0.25:
            low = (left + 0.15, plan.top + 0.02, start + 0.8 * deep)
            cushion(parts, low, (right - 0.15, plan.top + 0.28, start + 0.8 * deep + 0.1), ACCENT, bevel=0.05, tilt=0.4)


def _end_board(parts: Parts, rng: np.random.Generator, plan: _Plan, end: float, kind: str, top: float) -> None:
    """A headboard (``end`` -1) or a footboard (1) from the ground to ``top``."""
    x, thick = plan.x + float(rng.uniform(0.02, 0.08)), float(rng.uniform(0.03, 0.09))
    inner = plan.z + 0.01
    back, front = sorted((end * inner, end * (inner + thick)))
    if kind == "upholstered":
        _upholstered(parts, rng, (x, plan.foot, top), (back, front))
        return
    if kind == "panel":
        _sawn(parts, rng, (x, plan.foot, top), (back, front))
        return
    middle, post = (back + front) / 2, float(rng.uniform(0.018, 0.04))
    slot = MAIN if kind != "bars" else int(rng.choice([METAL, TRIM]))
    radius = 0.6 * post
    rise = float(rng.uniform(0.0, 0.2)) if kind == "bars" else 0.0
    arch = [(-x + 2 * x * t, top - 0.03 + rise * 4 * t * (1 - t), middle) for t in np.linspace(0, 1, 9).tolist()]
    bar(parts, arch, 1.1 * post if kind != "rails" else post, slot)
    for side in (-x, x):
        parts.tube(
            np.array([side, 0, middle]),
            np.array([side, top + 0.03, middle]),
            np.full((2, 2), post),
            4 if kind == "slats" else 10,
            slot,
        )
    if kind == "rails":
        for y in np.linspace(plan.rail, top, int(rng.integers(3, 6)))[:-1].tolist():
            parts.box((-x, y - 0.03, middle - radius), (x, y + 0.03, middle + radius), slot)
        return
    parts.box((-x, plan.rail - 0.02, middle - radius), (x, plan.rail + 0.03, middle + radius), slot)
    for share in np.linspace(0, 1, int(rng.integers(5, 12)))[1:-1].tolist():
        upper = top - 0.03 + rise * 4 * share * (1 - share)
        place, wide = -x + 2 * x * share, radius * (2.0 if kind == "slats" else 0.8)
        parts.tube(
            np.array([place, plan.rail, middle]),
            np.array([place, upper, middle]),
            np.array([[wide, radius]] * 2),
            4 if kind == "slats" else 8,
            slot,
        )


def _sawn(parts: Parts, rng: np.random.Generator, size: tuple[float, float, float], span: tuple[float, float]) -> None:
    """A board with a straight, arched, stepped or wavy upper edge."""
    x, low, top = size
    shares = np.linspace(1, -1, 21)
    rise = float(rng.uniform(0.06, 0.25)) * (top - low)
    edge = {
        "straight": np.zeros(21),
        "arch": 1 - shares**2,
        "step": (np.abs(shares) < 0.62) * 1.0,
        "wave": 0.5 + 0.5 * np.cos(2 * np.pi * shares),
    }[pick(rng, straight=2, arch=1.5, step=0.7, wave=0.8)]
    upper = np.stack([x * shares, top - rise + rise * edge], 1)
    slot = int(rng.choice([MAIN, TRIM]))
    board(parts, np.concatenate([[(-x, low), (x, low)], upper]), *span, slot)
    if rng.random() < 0.4:
        parts.box(
            (-0.85 * x, low, span[0] - 0.01),
            (0.85 * x, top - rise - 0.06, span[1] + 0.012),
            TRIM if slot == MAIN else MAIN,
        )


def _upholstered(
    parts: Parts, rng: np.random.Generator, size: tuple[float, float, float], span: tuple[float, float]
) -> None:
    """A padded board: one pad, vertical channels, or a grid of tufts."""
    x, low, top = size
    slot = int(rng.choice([CLOTH, ACCENT]))
    parts.box((-x, 0.0, span[0]), (x, top - 0.01, span[1]), slot)
    columns, rows = (
        int(number)
        for number in ((1, 1), (rng.integers(3, 9), 1), (rng.integers(4, 8), rng.integers(2, 4)))[int(rng.integers(3))]
    )
    across, up = np.linspace(-x, x, columns + 1).tolist(), np.linspace(low + 0.3 * (top - low), top, rows + 1).tolist()
    for left, right in pairwise(across):
        for bottom, high in pairwise(up):
            cushion(parts, (left, bottom, span[0] + 0.01), (right, high, span[1] + 0.06), slot, bevel=0.04)


def _posts(parts: Parts, rng: np.random.Generator, plan: _Plan) -> None:
    """Posts at the corners, and rails or a canopy on top."""
    high, width = float(rng.uniform(1.7, 2.2)), float(rng.uniform(0.025, 0.045))
    x, z, radii, straight = plan.x + 0.04, plan.z + 0.03, drawn_profile(rng), rng.random() < 0.5
    for side in (-x, x):
        for end in (-z, z):
            if straight:
                parts.box((side - width, 0, end - width), (side + width, high, end + width), MAIN)
            else:
                turned_leg(parts, radii, (side, end), (0.0, high), 1.3 * width, MAIN)
        parts.box((side - width, high - 2 * width, -z), (side + width, high, z), MAIN)
    for end in (-z, z):
        parts.box((-x, high - 2 * width, end - width), (x, high, end + width), MAIN)
    if rng.random() < 0.4:
        parts.box((-x, high - 0.005, -z), (x, high + 0.03, z), ACCENT)


def _bunk(parts: Parts, rng: np.random.Generator, plan: _Plan) -> None:
    """Two beds on common posts, a guard rail and a ladder at the right side."""
    width, second = float(rng.uniform(0.025, 0.04)), plan.rail + float(rng.uniform(0.8, 1.05))
    high, x, z = second + float(rng.uniform(0.35, 0.5)), plan.x + 0.04, plan.z + 0.04
    for side in (-x, x):
        for end in (-z, z):
            parts.box((side - width, 0, end - width), (side + width, high, end + width), MAIN)
    for rail in (plan.rail, second):
        parts.box((-x, rail - 0.14, -z), (x, rail, z), MAIN)
        level = _Plan(plan.x, plan.z, plan.foot, rail, rail + 0.12)
        _bedding(parts, rng, level)
        for end in (-z, z):
            for y in (rail + 0.16, rail + 0.32):
                parts.box((-x, y - 0.04, end - 0.015), (x, y + 0.04, end + 0.015), TRIM)
    for side, near in ((-x, z), (x, 0.4 * z)):
        for y in (second + 0.18, high - 0.05):
            parts.box((side - 0.014, y - 0.035, -z), (side + 0.014, y + 0.035, near), TRIM)
    for end in (0.45 * z, 0.85 * z):
        parts.tube(np.array([x + 0.12, 0, end]), np.array([x + 0.03, high, end]), np.full((2, 2), 0.022), 4, TRIM)
    for y in np.linspace(0.25, second, 5).tolist():
        at = x + 0.12 - 0.09 * y / high
        parts.box((at - 0.02, y - 0.015, 0.45 * z), (at + 0.02, y + 0.015, 0.85 * z), TRIM)


def _cradle(parts: Parts, rng: np.random.Generator, plan: _Plan) -> None:
    """High sides of bars around a small mattress, on legs or rockers; the higher end is the head's."""
    low = float(rng.uniform(0.22, 0.4))
    high, x, z, radius = low + float(rng.uniform(0.35, 0.55)), plan.x, plan.z, float(rng.uniform(0.009, 0.014))
    cushion(parts, (-x, low - 0.04, -z), (x, low + 0.1, z), PALE, bevel=0.03)
    cushion(parts, (-x + 0.02, low + 0.02, -0.3 * z), (x - 0.02, low + 0.13, z - 0.02), CLOTH, bevel=0.04)
    cushion(parts, (-0.6 * x, low + 0.06, -z + 0.03), (0.6 * x, low + 0.16, -z + 0.26), PALE, bevel=0.04)
    count = int(rng.integers(7, 14))
    for side in (-x, x):
        for y in (low - 0.04, high):
            parts.box((side - 0.02, y - 0.025, -z), (side + 0.02, y + 0.025, z), MAIN)
        for end in np.linspace(-z, z, count)[1:-1].tolist():
            parts.tube(np.array([side, low - 0.04, end]), np.array([side, high, end]), np.full((2, 2), radius), 6, TRIM)
    for end, top in ((-1.0, high + float(rng.uniform(0.1, 0.3))), (1.0, high + 0.03)):
        back, front = sorted((end * z, end * (z + 0.035)))
        _sawn(parts, rng, (x + 0.02, low - 0.1, top), (back, front))
    if rng.random() < 0.5:
        four_feet(parts, rng, (x + 0.02, z + 0.03), low - 0.06, 0.025, MAIN)
        return
    for end in (-z, z):
        bow = [(t * 1.25 * x, 0.02 + 0.1 * t**2, end) for t in np.linspace(-1, 1, 9).tolist()]
        bar(parts, bow, 0.02, MAIN)
        for side in (-0.8 * x, 0.8 * x):
            parts.tube(np.array([side, 0.05, end]), np.array([side, low, end]), np.full((2, 2), 0.02), 4, MAIN)
