"""Building blocks of procedural sets: closed parts, colours, patterns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from raylift.rendering.scene import Material, Scene

COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.72, 0.16, 0.14),
    "blue": (0.16, 0.29, 0.62),
    "green": (0.20, 0.46, 0.25),
    "yellow": (0.87, 0.70, 0.20),
    "grey": (0.50, 0.51, 0.53),
    "black": (0.12, 0.12, 0.13),
    "white": (0.88, 0.87, 0.84),
    "purple": (0.42, 0.22, 0.50),
}
WOODS: dict[str, tuple[float, float, float]] = {
    "oak": (0.68, 0.50, 0.30),
    "walnut": (0.36, 0.23, 0.14),
    "birch": (0.83, 0.72, 0.52),
}


@dataclass
class Parts:
    """Triangles collected part by part."""

    vertices: list[np.ndarray] = field(default_factory=list)
    faces: list[np.ndarray] = field(default_factory=list)
    uvs: list[np.ndarray] = field(default_factory=list)
    materials: list[np.ndarray] = field(default_factory=list)
    count: int = 0

    def add(self, vertices: np.ndarray, faces: np.ndarray, uvs: np.ndarray, material: int) -> None:
        """Add one part: vertices [N, 3], faces [M, 3], texture coordinates of corners [M, 3, 2]."""
        self.vertices.append(vertices)
        self.faces.append(faces + self.count)
        self.uvs.append(uvs)
        self.materials.append(np.full(len(faces), material, np.int32))
        self.count += len(vertices)

    def tube(self, start: np.ndarray, end: np.ndarray, half: np.ndarray, sides: int, material: int) -> None:
        """Add a closed prism from start to end with half widths ``half`` at either end, [2, 2] (a box has 4 sides)."""
        axis = (end - start) / np.linalg.norm(end - start)
        guide = np.array([0.0, 0.0, 1.0]) if abs(axis[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
        right = np.cross(guide, axis)
        right /= np.linalg.norm(right)
        ahead = np.cross(axis, right)
        angles = 2 * np.pi * (np.arange(sides) + 0.5) / sides
        round_out = np.sqrt(2.0) if sides == 4 else 1.0  # a square's corners are further out than its sides
        ring = np.stack([np.cos(angles), np.sin(angles)], 1) * round_out
        rings = [
            center + ring[:, :1] * size[0] * right + ring[:, 1:] * size[1] * ahead
            for center, size in ((start, half[0]), (end, half[1]))
        ]
        vertices = np.concatenate([*rings, start[None], end[None]])
        faces: list[tuple[int, int, int]] = []
        uvs: list[tuple[tuple[float, ...], ...]] = []
        length = float(np.linalg.norm(end - start)) * 4
        for i in range(sides):
            j = (i + 1) % sides
            u0, u1 = i / sides, (i + 1) / sides
            faces += [
                (i, j, sides + j),
                (i, sides + j, sides + i),
                (2 * sides, j, i),
                (2 * sides + 1, sides + i, sides + j),
            ]
            uvs += [((u0, 0), (u1, 0), (u1, length)), ((u0, 0), (u1, length), (u0, length))]
            flat = ring * 0.5 + 0.5
            uvs += [((0.5, 0.5), tuple(flat[j]), tuple(flat[i])), ((0.5, 0.5), tuple(flat[i]), tuple(flat[j]))]
        self.add(vertices, np.array(faces), np.array(uvs, np.float32), material)

    def box(self, low: tuple[float, float, float], high: tuple[float, float, float], material: int) -> None:
        """Add an axis-aligned box."""
        bottom, top = np.array(low), np.array(high)
        middle = (bottom + top) / 2
        half = (top - bottom) / 2
        start, end = middle.copy(), middle.copy()
        start[1], end[1] = bottom[1], top[1]
        # The tube's axes for an upward axis are right = +X and ahead = -Z.
        self.tube(start, end, np.array([[half[0], half[2]]] * 2), 4, material)

    def prism(self, outline: np.ndarray, half_width: float, material: int) -> None:
        """Add a closed prism along X: a convex outline of (z, y), [N, 2], counter-clockwise with z to the right."""
        count = len(outline)
        rings = [np.stack([np.full(count, x), outline[:, 1], outline[:, 0]], 1) for x in (-half_width, half_width)]
        ahead = np.arange(1, count - 1)
        sides = np.arange(count)
        after = (sides + 1) % count
        faces = np.concatenate(
            [
                np.stack([0 * ahead, ahead, ahead + 1], 1),
                np.stack([0 * ahead, ahead + 1, ahead], 1) + count,
                np.stack([sides, count + sides, count + after], 1),
                np.stack([sides, count + after, after], 1),
            ]
        )
        vertices = np.concatenate(rings)
        # Seen from the side, the pattern runs along the length; across the top it continues from side to side.
        uvs = vertices[faces][..., [2, 1]] + vertices[faces][..., [0, 0]] * [0.0, 0.5]
        self.add(vertices, faces, uvs.astype(np.float32), material)

    def scene(self, materials: tuple[Material, ...]) -> Scene:
        """All parts as one scene."""
        return Scene(
            vertices=np.concatenate(self.vertices).astype(np.float32),
            faces=np.concatenate(self.faces).astype(np.int32),
            face_materials=np.concatenate(self.materials),
            materials=materials,
            corner_uvs=np.concatenate(self.uvs).astype(np.float32),
        )


def patterned_texture(rng: np.random.Generator, color: tuple[float, float, float], pattern: str) -> np.ndarray:
    """A cloth or paint of one colour: plain, stripes, checks, weave or dots, uint8 [64, 64, 3]."""
    rows, columns = np.mgrid[0:64, 0:64]
    period = int(rng.choice([8, 16, 32]))
    if pattern == "stripes":
        light = (columns // period) % 2
    elif pattern == "checks":
        light = (columns // period + rows // period) % 2
    elif pattern == "weave":
        light = ((columns // 4) % 2) ^ ((rows // 4) % 2)
    elif pattern == "dots":
        light = ((columns % period - period / 2) ** 2 + (rows % period - period / 2) ** 2 < (period / 3) ** 2) * 1
    else:
        light = np.zeros_like(rows)
    other = np.clip(np.asarray(color) * 0.4 + 0.55, 0, 1)
    blend = light[..., None] * (0.35 if pattern == "weave" else 0.9)
    return to_bytes(np.asarray(color) * (1 - blend) + other * blend)


def wood_texture(rng: np.random.Generator, color: tuple[float, float, float], contrast: float = 0.07) -> np.ndarray:
    """Wavy grain along the rows, uint8 [64, 64, 3]."""
    rows, columns = np.mgrid[0:64, 0:64] / 64.0
    waves = sum(
        np.sin(2 * np.pi * (columns * rng.integers(2, 9) + 0.3 * np.sin(2 * np.pi * rows + rng.uniform(0, 6))))
        for _ in range(3)
    )
    shade = 1.0 + contrast * waves
    return to_bytes(np.asarray(color) * shade[..., None])


def to_bytes(rgb: np.ndarray) -> np.ndarray:
    """Convert colours in [0, 1] to uint8, clipped."""
    pixels: np.ndarray = (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)
    return pixels
