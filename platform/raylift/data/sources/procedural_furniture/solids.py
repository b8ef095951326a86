"""Closed solids with curves: lofts through rings, turned bodies, cushions, bent bars and sawn boards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raylift.data.sources.procedural_parts import Parts

_REPEATS_PER_METRE = 2.0
"""Texture repeats per metre of a loft's surface."""


def loft(parts: Parts, rings: np.ndarray, material: int, hollow: bool = False) -> None:
    """Add a closed solid whose surface passes through rings of points, [K, N, 3].

    The first and last ring are capped with flat fans, so they must be star-shaped; ``hollow`` joins them instead, as in
    a lamp shade that is open at both ends. Faces are wound outwards whatever the order of the rings.
    """
    count, around = rings.shape[:2]
    ring, place = np.meshgrid(np.arange(count if hollow else count - 1), np.arange(around), indexing="ij")
    after, above = (place + 1) % around, (ring + 1) % count
    square = [ring * around + place, ring * around + after, above * around + after, above * around + place]
    a, b, c, d = (corner.ravel() for corner in square)
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    along, turn = _lengths(rings)
    at = [(ring, place), (ring, place + 1), (ring + 1, place + 1), (ring + 1, place)]
    a_uv, b_uv, c_uv, d_uv = (np.stack([turn[p], along[r]], -1).reshape(-1, 2) for r, p in at)
    uvs = np.concatenate([np.stack([a_uv, b_uv, c_uv], 1), np.stack([a_uv, c_uv, d_uv], 1)])
    vertices = rings.reshape(-1, 3)
    if not hollow:
        vertices, faces, uvs = _capped(rings, vertices, faces, uvs)
    corners = vertices[faces]
    volume = np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
    if volume < 0:
        faces, uvs = faces[:, ::-1], uvs[:, ::-1]
    parts.add(vertices, faces, uvs.astype(np.float32), material)


def _lengths(rings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Texture coordinates along the rings [K + 1] and around them [N + 1], from mean lengths."""
    along = np.linalg.norm(np.roll(rings, -1, axis=0) - rings, axis=-1).mean(axis=1)
    turn = np.linalg.norm(np.roll(rings, -1, axis=1) - rings, axis=-1).mean(axis=0)
    summed = [np.concatenate([[0.0], np.cumsum(steps)]) * _REPEATS_PER_METRE for steps in (along, turn)]
    return summed[0], summed[1]


def _capped(
    rings: np.ndarray, vertices: np.ndarray, faces: np.ndarray, uvs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same with fans over the first and the last ring."""
    count, around = rings.shape[:2]
    place = np.arange(around)
    after = (place + 1) % around
    first, last = np.full(around, len(vertices)), np.full(around, len(vertices) + 1)
    start = (count - 1) * around
    caps = np.concatenate([np.stack([first, after, place], 1), np.stack([last, start + place, start + after], 1)])
    vertices = np.concatenate([vertices, rings[0].mean(axis=0)[None], rings[-1].mean(axis=0)[None]])
    flat = np.argsort(np.ptp(rings[0], axis=0))[1:]  # the two axes in which the cap extends
    cap_uvs = vertices[caps][..., np.sort(flat)] * _REPEATS_PER_METRE
    return vertices, np.concatenate([faces, caps]), np.concatenate([uvs, cap_uvs])


def outline(power: float, sides: int) -> np.ndarray:
    """A ring of points (x, z) within [-1, 1], [N, 2]: a circle (power 2), towards a square with a higher power."""
    angles = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    ring = np.stack([np.cos(angles), np.sin(angles)], 1)
    return np.asarray(np.sign(ring) * np.abs(ring) ** (2 / power))


def turned(
    parts: Parts,
    profile: list[tuple[float, float]],
    center: tuple[float, float],
    material: int,
    *,
    aspect: tuple[float, float] = (1.0, 1.0),
    power: float = 2.0,
    sides: int = 20,
    hollow: bool = False,
) -> None:
    """Add a body with a vertical axis at ``center`` (x, z): radii and heights from one end of the profile to the other.

    Args:
        aspect: factors of the radius along x and z.
        power: outline of the cross-section; see ``outline``.
        hollow: whether the profile's end meets its start.
    """
    radii, heights = np.array(profile).T
    ring = outline(power, sides) * aspect
    rings = np.empty((len(profile), sides, 3))
    rings[..., 0] = center[0] + radii[:, None] * ring[:, 0]
    rings[..., 1] = heights[:, None]
    rings[..., 2] = center[1] + radii[:, None] * ring[:, 1]
    loft(parts, rings, material, hollow)


def cushion(
    parts: Parts,
    low: tuple[float, float, float],
    high: tuple[float, float, float],
    material: int,
    *,
    bevel: float = 0.05,
    tilt: float = 0.0,
) -> None:
    """Add a box with round edges, ``bevel`` metres wide.

    Args:
        tilt: angle in radians by which its top leans back (towards -z), about its centre.
    """
    bottom, top = np.array(low), np.array(high)
    middle, half = (bottom + top) / 2, (top - bottom) / 2
    b = min(bevel, 0.9 * float(half.min()))
    levels = [(b, -half[1]), (0.3 * b, 0.3 * b - half[1]), (0.0, b - half[1])]
    levels += [(inset, -height) for inset, height in reversed(levels)]
    ring = outline(8.0, 24)
    rings = np.stack(
        [
            np.stack([(half[0] - inset) * ring[:, 0], np.full(24, height), (half[2] - inset) * ring[:, 1]], 1)
            for inset, height in levels
        ]
    )
    cos, sin = np.cos(tilt), np.sin(tilt)
    rotation = np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])
    loft(parts, rings @ rotation.T + middle, material)


def bar(
    parts: Parts,
    points: Sequence[tuple[float, float, float]] | np.ndarray,
    radius: float | list[float],
    material: int,
    sides: int = 8,
) -> None:
    """Add a round bar through points, bent at the inner ones; one radius, or one per point."""
    path = np.array(points, dtype=np.float64)
    steps = np.diff(path, axis=0)
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    tangents = np.concatenate([steps[:1], steps[:-1] + steps[1:], steps[-1:]])
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    side = np.cross(tangents[0], np.eye(3)[np.argmin(np.abs(tangents[0]))])
    angles = 2 * np.pi * np.arange(sides) / sides
    radii = np.broadcast_to(radius, len(path))
    turns = np.concatenate([steps[:1], steps]) - np.concatenate([steps, steps[-1:]])
    rings = []
    for point, tangent, turn, size in zip(path, tangents, turns, radii, strict=True):
        side = side - (side @ tangent) * tangent  # carried along without a twist
        side /= np.linalg.norm(side)
        ahead = np.cross(tangent, side)
        ring = np.cos(angles)[:, None] * side + np.sin(angles)[:, None] * ahead
        # A mitre's section is longer than the bar is thick by 1 / cos(h) for a bend of 2 h; |turn| = 2 sin(h).
        sine = min(float(np.linalg.norm(turn)) / 2, 0.9)
        if sine > 1e-6:
            bend_way = turn / np.linalg.norm(turn)
            ring += (1 / np.sqrt(1 - sine**2) - 1) * (ring @ bend_way)[:, None] * bend_way
        rings.append(point + size * ring)
    loft(parts, np.stack(rings), material)


def bend(start: np.ndarray, middle: np.ndarray, end: np.ndarray, count: int = 7) -> np.ndarray:
    """Points of the quadratic curve drawn towards ``middle``, [N, 3]."""
    t = np.linspace(0, 1, count)[:, None]
    return np.asarray((1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end)


def board(parts: Parts, shape: np.ndarray, back: float, front: float, material: int) -> None:
    """Add a board sawn along an outline of (x, y), [N, 2], star-shaped, from z = ``back`` to z = ``front``."""
    rings = [np.column_stack([shape, np.full(len(shape), z)]) for z in (back, front)]
    loft(parts, np.stack(rings), material)
