"""The compiled rasteriser against PyTorch3D's on this machine's CPU, same mesh, same camera, same fragments.

Run: ``PYTHONPATH=platform python tests/benchmarks/rasterizer.py``. Goal: at least 100 times PyTorch3D's speed on a mesh
of 20k faces at 224 x 224 (one face a pixel, no blur). Both use one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
import trimesh

from raylift.core.types import Mesh
from raylift.geometry.cameras import orbit, orbit_views
from raylift.rendering.rasterize import rasterize, rasterize_pytorch3d
from raylift.rendering.render import render
from raylift.rendering.virtual_scan import scan


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

    ours = rasterize(vertices, faces, camera, 224)
    theirs = rasterize_pytorch3d(vertices, faces, camera, 224)
    differing = int((ours.pix_to_face != theirs.pix_to_face).sum())
    print(f"faces {len(faces)}, image 224 x 224, covered {float((ours.pix_to_face >= 0).float().mean()):.1%}")
    print(f"pixels whose face differs: {differing} of {224 * 224}")
    print(f"largest difference of depth: {float((ours.zbuf - theirs.zbuf).abs().max()):.1e}")

    compiled = seconds(lambda: rasterize(vertices, faces, camera, 224), 20)
    pytorch3d = seconds(lambda: rasterize_pytorch3d(vertices, faces, camera, 224), 2)
    print(f"compiled {compiled * 1e3:.2f} ms, PyTorch3D {pytorch3d * 1e3:.0f} ms: ratio {pytorch3d / compiled:.0f}")

    layers = seconds(lambda: rasterize(vertices, faces, camera, 224, 8, 1e-4), 5)
    layers_pytorch3d = seconds(lambda: rasterize_pytorch3d(vertices, faces, camera, 224, 8, 1e-4), 1)
    print(f"8 faces a pixel, blur 1e-4: {layers * 1e3:.1f} ms, {layers_pytorch3d * 1e3:.0f} ms: ", end="")
    print(f"ratio {layers_pytorch3d / layers:.0f}")

    mesh = Mesh(vertices, faces)
    views = orbit_views(10)
    for image_px in (64, 224):
        spent = seconds(lambda: render(mesh, views, image_px), 3) / len(views)  # noqa: B023
        print(f"picture {image_px} x {image_px}, 4 samples a pixel: {spent * 1e3:.1f} ms a view")
    print(f"scan of 100 views at 384 x 384: {seconds(lambda: scan(vertices.numpy(), ball.faces), 2):.2f} s")


if __name__ == "__main__":
    main()
