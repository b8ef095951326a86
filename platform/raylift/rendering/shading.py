"""The compiled shader: the colour of the nearest triangle at each sample, averaged over each pixel."""

from __future__ import annotations

import numpy as np
from numba import njit

from raylift.rendering.textures import sample_texture
from raylift.rendering.zbuffer import barycentric, edge


def facing(
    crosses: np.ndarray, first_corners: np.ndarray, eye: np.ndarray, forward: np.ndarray, perspective: bool
) -> np.ndarray:
    """+1 for faces whose winding shows their front to the viewer, -1 for the others: float64 [F].

    Args:
        crosses: [F, 3], normals of any length.
        first_corners: [F, 3], world.
        eye: the camera's position, world.
        forward: its viewing direction, world; used instead of the position where the projection is orthographic.
    """
    towards = (crosses @ eye - np.einsum("fc,fc->f", crosses, first_corners)) if perspective else -(crosses @ forward)
    return np.where(towards < 0, -1.0, 1.0)


@njit(cache=True, fastmath=False, nogil=True)
def texture_levels(
    corners: np.ndarray,
    face: np.ndarray,
    was_cut: bool,
    face_materials: np.ndarray,
    corner_uvs: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    num_levels: np.ndarray,
    size: int,
) -> np.ndarray:
    """The pyramid level at which one texel is about as large as one sample, per triangle: float64 [T].

    It is half the binary logarithm of texels per sample, less half a level: supersampling averages what remains.

    Args:
        was_cut: triangles were cut at the near plane: so near, the full textures are right.
        size: samples along an edge of the image.
    """
    levels = np.zeros(corners.shape[0])
    if was_cut:
        return levels
    for t in range(corners.shape[0]):
        f = face[t]
        m = face_materials[f]
        if num_levels[m] < 2:
            continue
        uv = corner_uvs[f]
        texels = abs(edge(uv[2, 0], uv[2, 1], uv[0, 0], uv[0, 1], uv[1, 0], uv[1, 1])) * height[m, 0] * width[m, 0]
        corner = corners[t]
        samples = abs(edge(corner[2, 0], corner[2, 1], corner[0, 0], corner[0, 1], corner[1, 0], corner[1, 1]))
        samples *= size * size / 4.0
        if texels > samples > 0.0:
            levels[t] = max(0.0, 0.5 * np.log2(texels / samples) - 0.5)
    return levels


@njit(cache=True, fastmath=False, nogil=True)
def shade(
    triangle: np.ndarray,
    supersample: int,
    perspective: bool,
    corners: np.ndarray,
    face: np.ndarray,
    weights: np.ndarray,
    sides: np.ndarray,
    levels: np.ndarray,
    face_materials: np.ndarray,
    corner_uvs: np.ndarray,
    corner_colors: np.ndarray,
    normals: np.ndarray,
    texels: np.ndarray,
    first: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    num_levels: np.ndarray,
    base_color: np.ndarray,
    sky: np.ndarray,
    ground: np.ndarray,
    towards: np.ndarray,
    power: np.ndarray,
    background: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Colour float32 [H, W, 3] and coverage float32 [H, W] from the nearest triangle of each sample.

    Args:
        triangle: int32 [S H, S W], -1 for none.
        corners, face, weights: of ``ScreenTriangles``.
        sides: [F], see ``facing``.
        levels: [T], see ``texture_levels``.
        corner_colors: [F, 3, 3], or empty.
        normals: [F, 3, 3].
        texels ... base_color: of ``TextureAtlas``.
        sky ... power: of ``Lighting``.
    """
    size = triangle.shape[0]
    image_px = size // supersample
    rgb = np.empty((image_px, image_px, 3), np.float32)
    alpha = np.zeros((image_px, image_px), np.float32)
    step = 2.0 / size
    share = 1.0 / (supersample * supersample)
    w = np.empty(3)
    face_weights = np.empty(3)
    total = np.empty(3)
    for row in range(image_px):
        for column in range(image_px):
            covered = 0
            total[:] = 0.0
            for sample in range(supersample * supersample):
                i = row * supersample + sample // supersample
                j = column * supersample + sample % supersample
                t = triangle[i, j]
                if t < 0:
                    continue
                covered += 1
                f = face[t]
                m = face_materials[f]
                w[0], w[1], w[2] = barycentric((j + 0.5) * step - 1.0, (i + 0.5) * step - 1.0, corners[t], perspective)
                if weights.shape[0] > 0:
                    for c in range(3):
                        face_weights[c] = w[0] * weights[t, 0, c] + w[1] * weights[t, 1, c] + w[2] * weights[t, 2, c]
                    w[:] = face_weights
                r, g, b = base_color[m, 0], base_color[m, 1], base_color[m, 2]
                if num_levels[m] > 0:
                    u = w[0] * corner_uvs[f, 0, 0] + w[1] * corner_uvs[f, 1, 0] + w[2] * corner_uvs[f, 2, 0]
                    v = w[0] * corner_uvs[f, 0, 1] + w[1] * corner_uvs[f, 1, 1] + w[2] * corner_uvs[f, 2, 1]
                    tr, tg, tb = sample_texture(texels, first[m], height[m], width[m], num_levels[m], u, v, levels[t])
                    r, g, b = r * tr, g * tg, b * tb
                if corner_colors.shape[0] > 0:
                    tint = corner_colors[f]
                    r *= w[0] * tint[0, 0] + w[1] * tint[1, 0] + w[2] * tint[2, 0]
                    g *= w[0] * tint[0, 1] + w[1] * tint[1, 1] + w[2] * tint[2, 1]
                    b *= w[0] * tint[0, 2] + w[1] * tint[1, 2] + w[2] * tint[2, 2]
                normal = normals[f]
                nx = w[0] * normal[0, 0] + w[1] * normal[1, 0] + w[2] * normal[2, 0]
                ny = w[0] * normal[0, 1] + w[1] * normal[1, 1] + w[2] * normal[2, 1]
                nz = w[0] * normal[0, 2] + w[1] * normal[1, 2] + w[2] * normal[2, 2]
                scale = sides[f] / max(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
                nx, ny, nz = nx * scale, ny * scale, nz * scale
                up = 0.5 + 0.5 * ny
                lr = ground[0] + (sky[0] - ground[0]) * up
                lg = ground[1] + (sky[1] - ground[1]) * up
                lb = ground[2] + (sky[2] - ground[2]) * up
                for lamp in range(towards.shape[0]):
                    cosine = nx * towards[lamp, 0] + ny * towards[lamp, 1] + nz * towards[lamp, 2]
                    if cosine > 0.0:
                        lr += power[lamp, 0] * cosine
                        lg += power[lamp, 1] * cosine
                        lb += power[lamp, 2] * cosine
                # Each sample saturates separately, as in an image of four times the size.
                total[0] += min(max(r * lr, 0.0), 1.0)
                total[1] += min(max(g * lg, 0.0), 1.0)
                total[2] += min(max(b * lb, 0.0), 1.0)
            coverage = covered * share
            alpha[row, column] = coverage
            for c in range(3):
                rgb[row, column, c] = total[c] * share + (1.0 - coverage) * background[c]
    return rgb, alpha
