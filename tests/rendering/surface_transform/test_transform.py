"""Features on texels: closed forms, gradients, and whole pipelines from a pose."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from raylift.core.errors import DataError
from raylift.core.types import Camera
from raylift.geometry.cameras import orbit, orbit_views, pixel_centers, unproject
from raylift.rendering.surface_transform.compiled import transform_compiled
from raylift.rendering.surface_transform.coverage import Coverage, cover_texels
from raylift.rendering.surface_transform.options import TransformOptions
from raylift.rendering.surface_transform.plain import transform_plain
from raylift.rendering.surface_transform.transform import texel_features, to_surface
from raylift.rendering.uv_fragments import UvFragments, uv_fragments
from tests.rendering.surface_transform.surfaces import PLAIN, directions, fragments_of, grid, octahedral_sphere, warped


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def centers(texels: int) -> Tensor:
    """u and v of every texel [2, N, N]."""
    return ((grid(texels, texels, 0, texels - 1)[0] + 0.5) / texels).movedim(-1, 0)


def well_inside(coverage: Coverage, margin: float = 1e-3) -> bool:
    """Whether no texel is so near an edge that a small step could move it across."""
    return bool(((coverage.place > margin) & (coverage.place < 1 - margin)).all())


def test_gradients_in_float64() -> None:
    fragments = warped(2, 5, 6, 0.3, seed=14, holes=0.05)
    options = replace(PLAIN, max_side=0.5)
    coverage = cover_texels(fragments, 7, options)
    assert well_inside(coverage)
    assert len(coverage.row) > 40
    leaves = [random(2, 3, 5, 6).requires_grad_(), fragments.uv.requires_grad_()]

    def carried(features: Tensor, uv: Tensor) -> Tensor:
        return to_surface(features, replace(fragments, uv=uv), 7, options).features

    assert torch.autograd.gradcheck(carried, leaves, eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("noise", [0.3, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_as_plain_torch(noise: float, dtype: torch.dtype) -> None:
    fragments = warped(2, 24, 20, noise, holes=0.05)
    coverage = cover_texels(fragments, 12, replace(PLAIN, max_side=0.4))
    assert int(coverage.num_quads.max()) > (1 if noise > 1 else 0)
    leaves = [part.to(dtype).requires_grad_() for part in (random(2, 9, 24 * 20), fragments.uv.flatten(1, 2))]
    results = []
    for transform in (transform_compiled, transform_plain):
        out = transform(*leaves, coverage)
        weights = random(*out.shape, seed=3).to(dtype)
        results.append([out.detach(), *torch.autograd.grad((out * weights).sum(), leaves)])
    for one, other in zip(*results, strict=True):
        assert float((one - other).norm()) < (1e-10 if dtype == torch.float64 else 1e-4) * float(other.norm())


def test_a_constant_stays_constant() -> None:
    fragments = warped(1, 20, 20, 1.0)
    found = to_surface(torch.full((1, 2, 20, 20), 3.7), fragments, 16, PLAIN)
    seen = found.num_quads[:, None].expand(-1, 2, -1, -1) > 0
    torch.testing.assert_close(found.features[seen], torch.full_like(found.features[seen], 3.7))
    assert 0 < int(seen.sum()) < seen.numel()
    assert float(found.features[~seen].abs().max()) == 0


def test_features_affine_in_uv_are_exact() -> None:
    """Row 0 is v = 0, column 0 is u = 0."""
    fragments = warped(1, 20, 20, 0.5)
    scale, offset = random(3, 2), random(3)
    pixels = torch.einsum("cd,bhwd->bchw", scale, fragments.uv) + offset[:, None, None]
    texels = torch.einsum("cd,dhw->chw", scale, centers(16)) + offset[:, None, None]
    found = to_surface(pixels, fragments, 16, PLAIN)
    seen = found.num_quads[0] > 0
    assert int(seen.sum()) > 80
    torch.testing.assert_close(found.features[0][:, seen], texels[:, seen], rtol=0, atol=1e-12)


def test_an_aligned_grid_is_the_identity() -> None:
    features = random(1, 4, 8, 8)
    found = to_surface(features, fragments_of((grid(8, 8, 0, 7) + 0.5) / 8), 8, PLAIN)
    assert bool((found.num_quads[0, :7, :7] == 1).all())
    torch.testing.assert_close(found.features[..., :7, :7], features[..., :7, :7], rtol=0, atol=1e-12)


def test_the_gradient_to_features_is_the_adjoint() -> None:
    fragments = warped(2, 20, 24, 1.0, holes=0.1)
    features, upstream = random(2, 5, 20, 24).requires_grad_(), random(2, 5, 16, 16, seed=2)
    found = to_surface(features, fragments, 16, PLAIN).features
    (back,) = torch.autograd.grad(found, features, upstream)
    ahead, behind = (upstream * found).sum(), (back * features).sum()
    torch.testing.assert_close(ahead, behind, rtol=1e-12, atol=0)
    assert float(ahead.detach().abs()) > 0.1


@pytest.mark.parametrize("sheets", [1, 2])
def test_uv_gradients_of_a_pair_sum_to_minus_z_over_n(sheets: int) -> None:
    """Where features are affine in u with slopes A, z = A^T g: moving a whole quad moves its features with it."""
    one = torch.tensor([[[0.40, 0.41], [0.52, 0.40]], [[0.42, 0.53], [0.51, 0.50]]], dtype=torch.float64)
    other = one + torch.tensor([0.013, -0.009])
    uv = torch.cat([one, one * 0, other])[None] if sheets == 2 else one[None]
    mask = uv[..., 0] > 0
    uv.requires_grad_()
    slopes = random(3, 2)
    pixels = torch.einsum("cd,bhwd->bchw", slopes, uv.detach())
    found = to_surface(pixels, fragments_of(uv, mask), 11, PLAIN)
    row, column = (found.num_quads[0] == sheets).nonzero()[0].tolist()
    upstream = random(3, seed=4)
    (gradient,) = torch.autograd.grad((found.features[0, :, row, column] * upstream).sum(), uv)
    for sheet in range(sheets):
        total = gradient[0, 4 * sheet : 4 * sheet + 2].sum(dim=(0, 1))
        torch.testing.assert_close(total, -(slopes.mT @ upstream) / sheets, rtol=0, atol=1e-12)


def test_both_sheets_of_a_fold_are_averaged() -> None:
    sheet = grid(6, 6, 0.3, 0.6)
    uv = torch.cat([sheet, sheet[:, :1], sheet], dim=1)
    mask = torch.ones(1, 13, 6, dtype=torch.bool)
    mask[:, 6] = False
    features = torch.cat([torch.full((1, 1, 7, 6), 1.0), torch.full((1, 1, 6, 6), 4.0)], dim=2)
    found = to_surface(features, fragments_of(uv, mask), 32, PLAIN)
    assert set(found.num_quads.unique().tolist()) == {0, 2}
    torch.testing.assert_close(found.features[0, 0][found.num_quads[0] > 0].unique().mean(), torch.tensor(2.5).double())
    lowest = to_surface(features, fragments_of(uv, mask), 32, replace(PLAIN, max_quads=1))
    torch.testing.assert_close(
        lowest.features[0, 0][lowest.num_quads[0] > 0].unique().mean(), torch.tensor(1.0).double()
    )
    assert int(lowest.num_dropped) == int((found.num_quads == 2).sum())


def test_the_same_for_any_number_of_threads() -> None:
    fragments, features = warped(3, 30, 20, 1.0), random(3, 7, 30, 20).float()
    leaves, results = [features.requires_grad_(), fragments.uv.float().requires_grad_()], []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        found = to_surface(leaves[0], replace(fragments, uv=leaves[1]), 32, PLAIN).features
        results.append([found, *torch.autograd.grad(found.square().sum(), leaves)])
    torch.set_num_threads(1)
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


def test_chosen_texels_equal_those_of_the_whole_surface() -> None:
    fragments = warped(2, 24, 20, 1.0)
    leaves = [random(2, 5, 24, 20).requires_grad_(), fragments.uv.requires_grad_()]
    coverage = cover_texels(fragments, 16, PLAIN)
    seen = coverage.num_quads.flatten(1) > 0
    chosen = torch.multinomial(seen.double(), 40, generator=torch.Generator().manual_seed(0))
    chosen[:, 1] = chosen[:, 0]
    chosen[:, 2] = (~seen).int().argmax(dim=1)
    weights = random(2, 5, 40, seed=5)
    some = texel_features(leaves[0], fragments, coverage.select(chosen))
    whole = texel_features(leaves[0], fragments, coverage).flatten(2).gather(2, chosen[:, None].expand(-1, 5, -1))
    assert torch.equal(some, whole)
    assert not some[..., 2].any()
    one, other = (torch.autograd.grad((part * weights).sum(), leaves) for part in (some, whole))
    for found, expected in zip(one, other, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def textured(uv: Tensor) -> Tensor:
    """A smooth texture [..., 3]."""
    u, v = uv.unbind(dim=-1)
    return torch.stack([torch.sin(5 * u) * torch.cos(4 * v), torch.cos(6 * u + v), torch.sin(3 * u - 5 * v)], dim=-1)


def read(texture: Tensor, uv: Tensor) -> Tensor:
    """Bilinear values [B, C, H, W] of texels [B, C, N, N] at u and v."""
    return grid_sample(texture, 2 * uv - 1, padding_mode="border", align_corners=False)


def test_reading_a_texture_and_carrying_it_back_is_about_the_identity() -> None:
    vertices, faces, corner_uvs = octahedral_sphere(24)
    fragments = uv_fragments(vertices, faces, corner_uvs, orbit_views(6, (-50, 50)), 96)
    texture = textured(centers(48).movedim(0, -1)).movedim(-1, 0)[None].expand(6, -1, -1, -1)
    found = to_surface(read(texture, fragments.uv), fragments, 48)
    seen = found.num_quads > 0
    assert 0.25 < float(seen.double().mean()) < 0.6
    difference = (found.features - texture).movedim(1, -1)[seen].abs()
    assert float(difference.max()) < 0.05
    assert float(difference.mean()) < 0.003
    assert float(texture.std()) > 0.4


def test_every_view_of_a_sphere_is_carried_without_mixing_its_sides() -> None:
    """Pixels carry the point they show, and texels get their own, also beside the seam."""
    vertices, faces, corner_uvs = octahedral_sphere(24)
    camera = orbit_views(16, (-89, 60))
    fragments = uv_fragments(vertices, faces, corner_uvs, camera, 64)
    pixels = pixel_centers(64, 64, dtype=torch.float64).reshape(1, -1, 2).expand(16, -1, -1)
    points = unproject(camera.to("cpu", torch.float64), pixels, fragments.depth.flatten(1)).unflatten(1, (64, 64))
    expected = 0.5 * directions(centers(48).movedim(0, -1))
    gaps = {}
    for options in (TransformOptions(), PLAIN):
        found = to_surface(points.movedim(-1, 1), fragments, 48, options)
        gaps[options.chart] = (found.features.movedim(1, -1) - expected).norm(dim=-1)[found.num_quads > 0]
    assert float(gaps["octahedral"].max()) < 0.045
    assert float(gaps["plain"].max()) > 0.08
    assert len(gaps["octahedral"]) > 0.99 * len(gaps["plain"])


def pose(leaf: Tensor, projection: str) -> Camera:
    """A camera near ``orbit(25, 15)``: turned by three angles, moved by three numbers."""
    start = orbit(25.0, 15.0).to("cpu", torch.float64)
    x, y, z = leaf[:3]
    zero = torch.zeros_like(x)
    skew = torch.stack([torch.stack([zero, -z, y]), torch.stack([z, zero, -x]), torch.stack([-y, x, zero])])
    focal = start.focal if projection == "perspective" else start.focal / 2.2
    return Camera(
        focal, start.principal, torch.matrix_exp(skew) @ start.rotation, start.translation + leaf[3:], projection
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["transform", "read"])
@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_pose_gradients_equal_finite_differences(projection: str, way: str) -> None:
    """Through fragments, by the features that a surface gets, and by the texture that pixels read."""
    vertices, faces, corner_uvs = octahedral_sphere(8)
    features, texture, weights = random(1, 4, 20, 20), random(1, 4, 12, 12), random(1, 4, 12, 12, seed=9)

    def loss(leaf: Tensor) -> tuple[Tensor, UvFragments]:
        fragments = uv_fragments(vertices, faces, corner_uvs, pose(leaf, projection), 20)
        if way == "transform":
            return (to_surface(features, fragments, 12).features * weights).sum(), fragments
        return (read(texture, fragments.uv) * features * fragments.mask).sum(), fragments

    leaf = 0.01 * random(6, seed=7).requires_grad_()
    value, fragments = loss(leaf)
    (gradient,) = torch.autograd.grad(value, leaf)
    counts = cover_texels(fragments, 12).num_quads
    assert int(counts.sum()) > 20
    for axis in range(6):
        step = torch.zeros(6, dtype=torch.float64)
        step[axis] = 1e-6
        (after, ahead), (before, behind) = loss(leaf + step), loss(leaf - step)
        for moved in (ahead, behind):
            assert torch.equal(moved.face, fragments.face)
            assert torch.equal(cover_texels(moved, 12).num_quads, counts)
        assert float((after - before).detach() / 2e-6) == pytest.approx(float(gradient[axis]), rel=1e-4, abs=1e-4)
    assert float(gradient[: 5 if projection == "orthographic" else 6].abs().min()) > 0.01


def test_types_follow_the_inputs() -> None:
    fragments = warped(1, 8, 8, 0.2)
    single = replace(fragments, uv=fragments.uv.float(), depth=fragments.depth.float())
    assert to_surface(torch.rand(1, 2, 8, 8), single, 8, PLAIN).features.dtype == torch.float32
    assert to_surface(torch.rand(1, 2, 8, 8), fragments, 8, PLAIN).features.dtype == torch.float64
    halves = torch.rand(1, 2, 8, 8).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = to_surface(halves, single, 8, PLAIN).features
    assert found.dtype == torch.float32
    found.sum().backward()
    assert halves.grad is not None
    assert halves.grad.dtype == torch.bfloat16


def test_features_of_another_size_are_refused() -> None:
    with pytest.raises(DataError, match="do not fit fragments"):
        to_surface(torch.rand(1, 2, 8, 9), warped(1, 8, 8, 0.2), 8)
