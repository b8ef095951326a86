"""Which quads own which texels: geometry, rules, order."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from raylift.core.errors import ConfigError, DataError
from raylift.rendering.surface_transform.coverage import Coverage, cover_texels, coverage_of
from raylift.rendering.surface_transform.options import TransformOptions
from raylift.rendering.surface_transform.plain import bilinear, plain_pairs
from raylift.rendering.uv_fragments import UvFragments
from tests.rendering.surface_transform.surfaces import PLAIN, fragments_of, grid, warped


def pairs_of(coverage: Coverage) -> list[tuple[int, int]]:
    return list(zip(coverage.row.tolist(), coverage.quad.tolist(), strict=True))


def quad(*corners: tuple[float, float]) -> UvFragments:
    """One quad a, b, c, d."""
    a, b, c, d = torch.tensor(corners, dtype=torch.float64)
    return fragments_of(torch.stack([torch.stack([a, b]), torch.stack([d, c])])[None])


def num_owned(fragments: UvFragments, options: TransformOptions = PLAIN, texels: int = 64) -> int:
    return len(cover_texels(fragments, texels, options).row)


@pytest.mark.parametrize("noise", [0.0, 0.2, 0.6, 1.5])
@pytest.mark.parametrize("options", [PLAIN, TransformOptions(max_side=0.15), TransformOptions(max_quads=2)])
def test_same_pairs_as_plain_torch(noise: float, options: TransformOptions) -> None:
    fragments = warped(2, 12, 15, noise, holes=0.1)
    found = cover_texels(fragments, 40, options)
    expected = coverage_of(plain_pairs(fragments, 40, options), (2, 12, 15), 40, options.max_quads)
    assert pairs_of(found) == pairs_of(expected)
    assert len(found.row) > 50
    assert torch.equal(found.row_start, expected.row_start)
    assert torch.equal(found.num_dropped, expected.num_dropped)
    torch.testing.assert_close(found.place, expected.place, rtol=0, atol=1e-9)


def test_places_lead_back_to_the_texels() -> None:
    fragments = warped(2, 20, 20, 0.4)
    found = cover_texels(fragments, 48, PLAIN)
    corners = fragments.uv.reshape(-1, 2)[found.quad[:, None] + torch.tensor([0, 1, 21, 20])]
    texel = found.row % 48**2
    center = (torch.stack([texel % 48, texel // 48], dim=1).double() + 0.5) / 48
    torch.testing.assert_close(bilinear(corners, found.place), center, rtol=0, atol=1e-13)
    assert float(found.place.min()) >= 0
    assert float(found.place.max()) <= 1


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_quads_without_folds_own_each_texel_once(dtype: torch.dtype, flip: bool) -> None:
    """The pixels are at texel centres, or between, and every edge of the lattice passes through many centres."""
    uv = (grid(17, 17, 0, 16) + 4).to(dtype)  # in texels; whole numbers are centres
    moved = torch.randint(-1, 2, uv.shape, generator=torch.Generator().manual_seed(0)) / 6
    uv[:, 1:-1, 1:-1] += moved[:, 1:-1, 1:-1].to(dtype) * (torch.rand(1, 15, 15, 1) > 0.5)
    uv = (uv + 0.5) / 24
    found = cover_texels(fragments_of(uv.flip(2) if flip else uv), 24, PLAIN).num_quads[0]
    assert bool((found[5:20, 5:20] == 1).all())
    assert int(found.sum()) in range(15 * 15, 17 * 17 + 1)


def test_quads_own_their_left_and_upper_edges() -> None:
    uv = (grid(5, 5, 0, 4) + 0.5) / 8
    found = cover_texels(fragments_of(uv), 8, PLAIN).num_quads[0]
    expected = torch.zeros(8, 8, dtype=torch.int64)
    expected[:4, :4] = 1
    assert torch.equal(found, expected)


SQUARE = ((0.40, 0.40), (0.52, 0.40), (0.52, 0.52), (0.40, 0.52))


def test_a_quad_counts_if_it_is_convex_and_whole() -> None:
    a, b, c, d = SQUARE
    assert num_owned(quad(*SQUARE)) in range(49, 65)
    assert num_owned(quad(b, a, d, c)) == pytest.approx(num_owned(quad(*SQUARE)), abs=16)
    assert num_owned(quad(a, c, b, d)) == 0, "a bow tie"
    assert num_owned(quad(a, b, (0.43, 0.43), d)) == 0, "a dart"
    assert num_owned(quad(a, b, ((b[0] + d[0]) / 2, (b[1] + d[1]) / 2), d)) == 0, "a triangle"
    assert num_owned(quad(a, a, c, d)) == 0, "two corners in one place"
    whole = quad(*SQUARE)
    for corner in range(4):
        mask = torch.ones(4, dtype=torch.bool)
        mask[corner] = False
        assert num_owned(replace(whole, mask=mask.reshape(1, 2, 2))) == 0


def test_long_quads_and_steps_of_depth_are_left_out() -> None:
    assert num_owned(quad(*SQUARE), replace(PLAIN, max_side=0.121)) > 0
    assert num_owned(quad(*SQUARE), replace(PLAIN, max_side=0.119)) == 0
    wide = quad((0.1, 0.4), (0.9, 0.4), (0.9, 0.42), (0.1, 0.42))
    assert num_owned(wide, PLAIN) == 0
    assert num_owned(wide, replace(PLAIN, max_side=1.0)) > 0
    stepped = replace(quad(*SQUARE), depth=torch.tensor([[[1.0, 1.1], [1.0, 1.15]]]))
    assert num_owned(stepped) > 0
    assert num_owned(stepped, replace(PLAIN, max_depth_step=0.14)) == 0


def test_a_short_quad_across_the_octahedral_seam_is_left_out() -> None:
    """Across the border's middle, neighbours on the surface are mirrored in the chart: (u, 1 + e) is (1 - u, 1 - e)."""
    across = quad((0.46, 0.97), (0.56, 0.98), (0.54, 0.99), (0.47, 0.995))
    assert num_owned(across, PLAIN) > 0
    assert num_owned(across, TransformOptions()) == 0
    beside = quad((0.56, 0.96), (0.62, 0.96), (0.62, 0.99), (0.56, 0.99))
    assert num_owned(beside, TransformOptions()) == num_owned(beside, PLAIN) > 0
    inner = quad((0.46, 0.8), (0.54, 0.8), (0.54, 0.9), (0.46, 0.9))
    assert num_owned(inner, TransformOptions()) == num_owned(inner, PLAIN) > 0


def folded() -> UvFragments:
    """Two sheets over the same part of the chart, and nothing between them."""
    sheet = grid(6, 6, 0.3, 0.6)
    uv = torch.cat([sheet, sheet[:, :1], sheet + 0.003], dim=1)
    mask = torch.ones(1, 13, 6, dtype=torch.bool)
    mask[:, 6] = False
    return fragments_of(uv, mask)


def test_both_sheets_of_a_fold_count() -> None:
    counts = cover_texels(folded(), 32, PLAIN).num_quads
    assert int(counts.max()) == 2
    assert int((counts == 2).sum()) > 60


def test_max_quads_keeps_the_lowest_and_reports_the_rest() -> None:
    fragments = warped(2, 60, 60, 2.0)
    every = cover_texels(fragments, 16, PLAIN)
    some = cover_texels(fragments, 16, replace(PLAIN, max_quads=3))
    assert int(every.num_quads.max()) > 4
    assert not every.num_dropped.any()
    assert torch.equal(some.num_quads, every.num_quads.clamp(max=3))
    assert torch.equal(some.num_dropped, (every.num_quads - 3).clamp(min=0).sum(dim=(1, 2)))
    for texel in range(2 * 16 * 16):
        begin, end = every.row_start[texel : texel + 2].tolist()
        first, last = some.row_start[texel : texel + 2].tolist()
        assert some.quad[first:last].tolist() == sorted(every.quad[begin:end].tolist())[:3]


def test_the_same_for_any_number_of_threads() -> None:
    fragments, results = warped(3, 30, 20, 1.0), []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        results.append(cover_texels(fragments, 32, PLAIN))
    torch.set_num_threads(1)
    for other in results[1:]:
        for name in ("row_start", "row", "quad", "place"):
            assert torch.equal(getattr(results[0], name), getattr(other, name))


def test_selected_texels_keep_their_quads() -> None:
    coverage = cover_texels(warped(2, 60, 60, 2.0), 16, PLAIN)
    chosen = torch.tensor([[5 * 16 + 7, 0, 100], [130, 130, 255]])
    some = coverage.select(chosen)
    assert some.rows == (2, 3)
    assert torch.equal(some.num_quads, coverage.num_quads.flatten(1).gather(1, chosen))
    assert int(some.num_quads.sum()) > 3
    for row, texel in enumerate((chosen + torch.tensor([[0], [256]])).flatten().tolist()):
        picked, original = some.row == row, coverage.row == texel
        assert torch.equal(some.quad[picked], coverage.quad[original])
        assert torch.equal(some.place[picked], coverage.place[original])
    with pytest.raises(DataError, match="use 0 to 255"):
        coverage.select(torch.tensor([[256], [0]]))


@pytest.mark.parametrize("shape", [(0, 5, 5), (1, 1, 5), (1, 5, 1), (2, 1, 1)])
def test_images_without_quads(shape: tuple[int, int, int]) -> None:
    found = cover_texels(fragments_of(torch.rand(*shape, 2)), 4)
    assert found.num_quads.shape == (shape[0], 4, 4)
    assert not found.num_quads.any()


def test_bad_input_is_refused() -> None:
    fragments = warped(1, 4, 4, 0.0)
    with pytest.raises(DataError, match="0 texels"):
        cover_texels(fragments, 0)
    broken: Tensor = fragments.uv.clone()
    broken[0, 0, 0, 0] = float("nan")
    with pytest.raises(DataError, match="not finite"):
        cover_texels(replace(fragments, uv=broken), 8)
    for wrong in ({"max_side": 0.0}, {"max_depth_step": float("nan")}, {"max_quads": 0}, {"chart": "cube"}):
        with pytest.raises(ConfigError):
            TransformOptions(**wrong)  # type: ignore[arg-type]
