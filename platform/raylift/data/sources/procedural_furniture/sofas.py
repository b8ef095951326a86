"""Procedural sofas: one to four seats, arms and cushions of several shapes, chaises and corners."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from raylift.data.sources.procedural_furniture.fittings import four_feet, pick
from raylift.data.sources.procedural_furniture.looks import ACCENT, CLOTH, METAL, PALE, TRIM
from raylift.data.sources.procedural_furniture.solids import bar, cushion
from raylift.data.sources.procedural_parts import Parts

STYLES = {"sofa": 3.0, "couch": 1.5, "love seat": 1.0, "chaise sofa": 1.0, "corner sofa": 1.2, "bench sofa": 0.6}


@dataclass(frozen=True)
class _Plan:
    """Parameters of one sofa, lengths in metres; the seats are between x = -half and half.

    Attributes:
        half: half the width between the arms.
        front, back: ends along z.
        seat: height of the seat; under: of its frame.
        top: height of the back; thick: its thickness at the bottom.
        arm, arm_top: width and height of the arms.
        side: -1 or 1, where a chaise or corner is; 0 for none. reach: how far it extends beyond the front.
    """

    seats: int
    half: float
    front: float
    back: float
    foot: float
    under: float
    seat: float
    top: float
    thick: float
    lean: float
    arms: str
    arm: float
    arm_top: float
    bevel: float
    side: int
    reach: float
    corner: bool

    @staticmethod
    def draw(style: str, rng: np.random.Generator) -> _Plan:
        seats = {"love seat": 2, "chaise sofa": 3, "corner sofa": 3}.get(style) or int(
            rng.choice([1, 2, 3, 4], p=[0.07, 0.33, 0.42, 0.18])
        )
        seat = float(rng.uniform(0.36, 0.48))
        foot = float(rng.uniform(0.0, 0.16))
        deep = float(rng.uniform(0.72, 1.05))
        arms = pick(rng, box=3, thin=1.5, rolled=1.8, slope=1, frame=0.8, none=1)
        bent = style in ("chaise sofa", "corner sofa")
        return _Plan(
            seats=seats,
            half=seats * float(rng.uniform(0.5, 0.75)) / 2,
            front=deep / 2,
            back=-deep / 2,
            foot=foot,
            under=foot + (seat - foot) * float(rng.uniform(0.3, 0.6)),
            seat=seat,
            top=seat + float(rng.uniform(0.26, 0.6)),
            thick=float(rng.uniform(0.1, 0.22)),
            lean=float(rng.uniform(0.0, 0.22)),
            arms=arms,
            arm={"box": float(rng.uniform(0.12, 0.28)), "slope": 0.16, "rolled": float(rng.uniform(0.14, 0.24))}.get(
                arms, 0.06
            ),
            arm_top=seat + float(rng.uniform(0.08, 0.26)),
            bevel=float(rng.uniform(0.015, 0.08)),
            side=int(rng.choice([-1, 1])) if bent else 0,
            reach=float(rng.uniform(0.45, 0.9)) if bent else 0.0,
            corner=style == "corner sofa",
        )


def build_sofa(parts: Parts, style: str, rng: np.random.Generator) -> None:
    """Add a sofa of a style, standing on y = 0, its back at -Z and its seats open to +Z."""
    plan = _Plan.draw(style, rng)
    frame = CLOTH if rng.random() < 0.75 else TRIM
    out = plan.half + (plan.arm if plan.arms != "none" else 0.0)
    cushion(parts, (-out, plan.foot, plan.back), (out, plan.under, plan.front), frame, bevel=0.3 * plan.bevel)
    _feet(parts, rng, plan, out)
    _backrest(parts, rng, plan, out)
    _seats(parts, rng, plan)
    for side in (-1.0, 1.0):
        if not (plan.side == side and plan.corner):
            _arm(parts, plan, side)
    if plan.side:
        _extension(parts, plan, frame, out)
    _pillows(parts, rng, plan)


def _feet(parts: Parts, rng: np.random.Generator, plan: _Plan, out: float) -> None:
    if plan.foot > 0.05:
        four_feet(
            parts, rng, (out, plan.front), plan.foot, float(rng.uniform(0.018, 0.04)), int(rng.choice([TRIM, METAL]))
        )
    elif plan.foot > 0.01:
        parts.box((-out + 0.03, 0, plan.back + 0.03), (out - 0.03, plan.foot + 0.01, plan.front - 0.03), TRIM)


def _backrest(parts: Parts, rng: np.random.Generator, plan: _Plan, out: float) -> None:
    """A solid back, and cushions against it: one per seat, one for all, or none; or rails with cushions."""
    half = plan.half + (0.02 if plan.arms != "none" else 0.0)
    full = rng.random() < 0.5
    lower = plan.top - float(rng.uniform(0.02, 0.12))
    z = plan.back
    if plan.arms == "frame":
        bar(
            parts,
            [
                (-out, plan.under, z + 0.03),
                (-out, lower, z + 0.03),
                (out, lower, z + 0.03),
                (out, plan.under, z + 0.03),
            ],
            0.022,
            TRIM,
        )
    wide = out if full else half
    cushion(parts, (-wide, plan.foot, z), (wide, lower, z + plan.thick), CLOTH, bevel=plan.bevel)
    count = {"each": plan.seats, "one": 1, "many": 2 * plan.seats, "none": 0}[
        pick(rng, each=3, one=0.7, many=0.5, none=0.7)
    ]
    edges = np.linspace(-plan.half, plan.half, count + 1) if count else np.zeros(0)
    deep = float(rng.uniform(0.1, 0.2))
    for left, right in pairwise(edges.tolist()):
        low = (left + 0.005, plan.seat - 0.03, z + plan.thick - 0.03)
        cushion(
            parts, low, (right - 0.005, plan.top, low[2] + deep), CLOTH, bevel=max(0.04, plan.bevel), tilt=plan.lean
        )


def _seats(parts: Parts, rng: np.random.Generator, plan: _Plan) -> None:
    """Seat cushions, one per seat or one for all."""
    count = plan.seats if rng.random() < 0.75 else 1
    edges = np.linspace(-plan.half, plan.half, count + 1).tolist()
    over = float(rng.uniform(-0.02, 0.04))
    for left, right in pairwise(edges):
        low = (left + 0.004, plan.under - 0.01, plan.back + plan.thick - 0.02)
        cushion(parts, low, (right - 0.004, plan.seat, plan.front + over), CLOTH, bevel=max(0.03, plan.bevel))


def _arm(parts: Parts, plan: _Plan, side: float) -> None:
    """The arm at one end, from the back to the front."""
    inner, outer = side * plan.half, side * (plan.half + plan.arm)
    left, right = min(inner, outer), max(inner, outer)
    z, y = plan.front, plan.arm_top
    if plan.arms in ("box", "thin"):
        cushion(
            parts, (left, plan.foot, plan.back), (right, y, z), CLOTH if plan.arms == "box" else TRIM, bevel=plan.bevel
        )
    elif plan.arms == "rolled":
        radius = 0.62 * plan.arm
        x = (left + right) / 2
        parts.box((left + 0.02, plan.foot, plan.back), (right - 0.02, y - radius, z - 0.02), CLOTH)
        path = [(x, y - radius, plan.back), (x, y - radius, z - 0.03), (x, y - radius, z)]
        bar(parts, path, [radius, radius, 0.85 * radius], CLOTH, sides=18)
    elif plan.arms == "slope":
        outline = np.array([(plan.back, plan.foot), (z, plan.foot), (z, y - 0.08), (plan.back, plan.top - 0.06)])
        shifted = Parts()
        shifted.prism(outline, plan.arm / 2, CLOTH)
        parts.add(shifted.vertices[0] + [(left + right) / 2, 0, 0], shifted.faces[0], shifted.uvs[0], CLOTH)
    elif plan.arms == "frame":
        x = (left + right) / 2
        bar(
            parts,
            [(x, 0.0, plan.back + 0.04), (x, y, plan.back + 0.04), (x, y, z - 0.03), (x, 0.0, z - 0.03)],
            0.022,
            TRIM,
        )


def _extension(parts: Parts, plan: _Plan, frame: int, out: float) -> None:
    """A chaise, or the second leg of a corner, which has a back on its outer side."""
    wide = max(0.6, 2 * plan.half / plan.seats)
    inner, outer = plan.side * (plan.half - wide), plan.side * out
    left, right = min(inner, outer), max(inner, outer)
    far = plan.front + plan.reach + (0.4 if plan.corner else 0.0)
    cushion(parts, (left, plan.foot, plan.front - 0.05), (right, plan.under, far), frame, bevel=0.3 * plan.bevel)
    if plan.foot > 0.01:
        for x in (left + 0.06, right - 0.06):
            parts.box((x - 0.03, 0, far - 0.1), (x + 0.03, plan.foot + 0.01, far - 0.04), TRIM)
    within = plan.side * (out - (plan.thick if plan.corner else 0.0))
    low, high = min(inner, within), max(inner, within)
    cushion(
        parts,
        (low, plan.under - 0.01, plan.front - 0.04),
        (high, plan.seat, far - 0.01),
        CLOTH,
        bevel=max(0.03, plan.bevel),
    )
    if plan.corner:
        edge = plan.side * (out - plan.thick)
        cushion(
            parts,
            (min(edge, outer), plan.foot, plan.back),
            (max(edge, outer), plan.top - 0.04, far),
            CLOTH,
            bevel=plan.bevel,
        )


def _pillows(parts: Parts, rng: np.random.Generator, plan: _Plan) -> None:
    """Loose pillows that lean against the back."""
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.5, 0.15, 0.25, 0.1]))):
        half = float(rng.uniform(0.15, 0.22))
        x = float(rng.uniform(-1, 1)) * max(plan.half - half, 0.0)
        z = plan.back + plan.thick + float(rng.uniform(0.16, 0.26))
        low = (x - half, plan.seat - 0.02, z - 0.06)
        slot = int(rng.choice([ACCENT, PALE]))
        cushion(parts, low, (x + half, plan.seat + 1.9 * half, z + 0.06), slot, bevel=0.055, tilt=0.3)
