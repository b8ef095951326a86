"""What pictures and scans of meshes cost, and their z-buffer against PyTorch3D's rasteriser on this machine's CPU.

    PYTHONPATH=platform python -m tests.benchmarks.rasterizer

A mesh of 20k faces, one thread. First ``zbuffer.fill_nearest`` as ``render`` and ``scan`` call it, one view at
224 x 224, beside PyTorch3D's rasteriser of one face a pixel; the goal is at least 100 times its speed. Then whole
pictures and scans, which is what preparing a data set waits for.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
import trimesh

from raylift.core.types import Mesh
from raylift.geometry.cameras import orbit, orbit_views
from raylift.rendering.render import COPLANAR_MARGIN, render
from raylift.rendering.triangles import project_triangles
from raylift.rendering.virtual_scan import scan
from raylift.rendering.zbuffer import fill_nearest
from tests.rendering.nearest_faces import nearest_faces_pytorch3d


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The median of several runs, after one that compiles."""
    work()
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return float(np.median(spent))


def main() -> None:
    torch.set_num_threads(1)
    # A bumpy ball: 20,480 faces of unlike sizes and depths.
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.42)
    bumps = 1 + 0.15 * np.sin(9 * ball.vertices).prod(axis=1, keepdims=True) / 0.42
    vertices = torch.tensor(ball.vertices * bumps).float()
    faces = torch.tensor(ball.faces)
    camera = orbit(30.0, 20.0)

    def z_buffer() -> tuple[np.ndarray, np.ndarray]:
        screen = project_triangles(vertices.numpy(), faces.numpy(), camera)
        depth, triangle = fill_nearest(screen.corners, 224, True, COPLANAR_MARGIN)
        return depth, np.where(triangle >= 0, screen.face[triangle], -1)

    depth, face = z_buffer()
    theirs = nearest_faces_pytorch3d(vertices, faces, camera, 224)
    same = face == theirs.face[0].numpy()
    print(f"faces {len(faces)}, image 224 x 224, covered {(face >= 0).mean():.1%}")
    print(f"pixels whose face differs: {int((~same).sum())} of {224 * 224}")
    seen = same & (face >= 0)
    print(f"largest difference of depth: {np.abs(depth - theirs.depth[0].numpy())[seen].max():.1e}")

    compiled = seconds(z_buffer, 20)
    pytorch3d = seconds(lambda: nearest_faces_pytorch3d(vertices, faces, camera, 224), 2)
    print(f"z-buffer {compiled * 1e3:.2f} ms, PyTorch3D {pytorch3d * 1e3:.0f} ms: ratio {pytorch3d / compiled:.0f}")

    mesh = Mesh(vertices, faces)
    views = orbit_views(10)
    for image_px in (64, 224):
        spent = seconds(lambda: render(mesh, views, image_px), 3) / len(views)  # noqa: B023
        print(f"picture {image_px} x {image_px}, 4 samples a pixel: {spent * 1e3:.1f} ms a view")
    print(f"scan of 100 views at 384 x 384: {seconds(lambda: scan(vertices.numpy(), ball.faces), 2):.2f} s")


if __name__ == "__main__":
    main()
