"""The soft rasteriser against PyTorch3D's on this machine's CPU, forward and backward, same mesh, same picture.

    PYTHONPATH=platform python tests/benchmarks/soft_rasterizer.py

A sphere of 1280 faces, sigma 1e-4, one image, one thread each. Goals for the silhouette: at least 500 times PyTorch3D's
speed at 64 x 64 and 300 times at 256 x 256. PyTorch3D needs a list of faces a pixel: K = 100 at 64 x 64, as is common,
and at 256 x 256 the least that leaves no face out. Ratios are of the fastest runs, since other work only ever slows.
Then: how two threads scale, and what pictures of textures cost, forward and backward.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import torch
import trimesh
from torch import Tensor

from raylift.geometry.cameras import orbit, orbit_views
from raylift.rendering.screen import project_to_screen
from raylift.rendering.soft_blend import SoftBlend
from raylift.rendering.soft_fragments import FragmentFaces
from raylift.rendering.soft_pytorch3d import silhouette_pytorch3d
from raylift.rendering.soft_rasterize import rasterize_soft
from raylift.rendering.soft_silhouette import blur_radius_of, soft_silhouette
from raylift.rendering.soft_view import SoftView

SIGMA = 1e-4


def fastest(work: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest run, after one that compiles."""
    work()
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return min(spent)


def there_and_back(render: Callable[[Tensor], Tensor], screen: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
    """A picture, and the gradient of its product with ``draw``."""
    leaf = screen.clone().requires_grad_()
    picture = render(leaf)
    (picture * draw).sum().backward()
    assert leaf.grad is not None
    return picture.detach(), leaf.grad


def compare_silhouettes(screen: Tensor, faces: Tensor, image_px: int, layers: int, repeats: int) -> float:
    """Print agreement and times at one size; the fused silhouette's seconds."""
    draw = torch.randn(1, image_px, image_px, generator=torch.Generator().manual_seed(0))
    radius = blur_radius_of(SIGMA)

    def ours() -> tuple[Tensor, Tensor]:
        return there_and_back(lambda mesh: soft_silhouette(mesh, faces, image_px, SIGMA), screen, draw)

    def theirs() -> tuple[Tensor, Tensor]:
        return there_and_back(
            lambda mesh: silhouette_pytorch3d(mesh, faces, image_px, SIGMA, radius, layers), screen, draw
        )

    fused = fastest(ours, 60)
    start = time.perf_counter()
    expected, gradient = theirs()
    listed = time.perf_counter() - start
    for _ in range(repeats - 1):
        start = time.perf_counter()
        theirs()
        listed = min(listed, time.perf_counter() - start)
    picture, mine = ours()
    print(f"silhouette {image_px} x {image_px}: PyTorch3D (K = {layers}) {listed:.2f} s, ", end="")
    print(f"fused {fused * 1e3:.2f} ms: ratio {listed / fused:.0f}")
    print(f"  largest difference {float((picture - expected).abs().max()):.1e}, ", end="")
    print(f"of the gradient, relative {float((mine - gradient).norm() / gradient.norm()):.1e}")
    return fused


def compare_threads(faces: Tensor, vertices: Tensor, batch: int, image_px: int) -> None:
    screen = project_to_screen(vertices[None], orbit_views(batch))
    draw = torch.ones(batch, image_px, image_px)
    spent = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        spent.append(
            fastest(lambda: there_and_back(lambda mesh: soft_silhouette(mesh, faces, image_px), screen, draw), 12)
        )
    torch.set_num_threads(1)
    print(f"{batch} silhouettes {image_px} x {image_px}: {spent[0] * 1e3:.1f} ms, ", end="")
    print(f"two threads {spent[1] * 1e3:.1f} ms: {spent[0] / spent[1]:.2f}x as fast")


def compare_textures(vertices: Tensor, faces: Tensor, batch: int, image_px: int, layers: int) -> None:
    """Print agreement, times and memory of textured pictures, by the compiled kernels and by PyTorch3D and torch.

    PyTorch3D takes so long on a CPU that it is timed on one image.
    """
    screen = project_to_screen(vertices[None], orbit_views(batch)).detach()
    texture = torch.rand(batch, 3, 128, 128)
    uvs = torch.rand(len(faces), 1, 2) * 0.9 + torch.rand(len(faces), 3, 2) * 0.1
    blend = SoftBlend(SIGMA)

    def shaded(mesh: Tensor, colors: Tensor, listed: bool) -> Tensor:
        view = SoftView(mesh, faces, image_px, layers, blend)
        if listed:
            view.source = FragmentFaces(mesh, faces, image_px, layers, blend, True)
        return view.texture(uvs, colors)

    def work(count: int, listed: bool) -> tuple[Tensor, Tensor]:
        leaves = screen[:count].clone().requires_grad_(), texture[:count].clone().requires_grad_()
        picture = shaded(*leaves, listed)
        (picture * draw[:count]).sum().backward()
        assert leaves[1].grad is not None
        return picture.detach(), leaves[1].grad

    draw = torch.randn(batch, 3, image_px, image_px, generator=torch.Generator().manual_seed(0))
    fused = fastest(lambda: work(batch, False), 5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    picture, gradient = work(1, True)
    listed = batch * (time.perf_counter() - start)
    ours, mine = work(1, False)
    print(f"{batch} textures {image_px} x {image_px}, K = {layers}: {fused * 1e3:.0f} ms, ", end="")
    print(f"PyTorch3D and torch some {listed:.1f} s: ratio {listed / fused:.0f}; process at most {before:.0f} MB")
    print(f"  mean difference {float((ours - picture).abs().mean()):.1e}, ", end="")
    print(f"of the texture's gradient, relative {float((mine - gradient).norm() / gradient.norm()):.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="of PyTorch3D at 64 x 64; once at 256 x 256")
    parser.add_argument("--only-silhouettes", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=0.5)
    vertices, faces = torch.tensor(mesh.vertices).float(), torch.tensor(mesh.faces)
    screen = project_to_screen(vertices[None], orbit(20, 30))
    most = int((rasterize_soft(screen, faces, 256, 100, blur_radius_of(SIGMA)).pix_to_face >= 0).sum(-1).max())
    print(f"{len(faces)} faces, at most {most} over one pixel of 256 x 256")
    compare_silhouettes(screen, faces, 64, 100, options.repeats)
    compare_silhouettes(screen, faces, 256, most, 1)
    for batch, image_px in ((1, 64), (16, 64), (1, 256), (4, 256)):
        compare_threads(faces, vertices, batch, image_px)
    if options.only_silhouettes:
        return
    for image_px, layers in ((64, 8), (64, 30), (256, 8), (256, 30)):
        compare_textures(vertices, faces, 16, image_px, layers)


if __name__ == "__main__":
    main()
