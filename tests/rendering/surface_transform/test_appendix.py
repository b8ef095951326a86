"""The appendix's equations as printed are incomplete: what ours, which finite differences confirm, have beyond them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from raylift.rendering.surface_transform.transform import to_surface
from tests.rendering.surface_transform import appendix
from tests.rendering.surface_transform.surfaces import PLAIN, fragments_of

TEXELS = 11
CORNERS = torch.tensor([[0.36, 0.37], [0.47, 0.36], [0.46, 0.45], [0.38, 0.47]], dtype=torch.float64)
"""A quad a, b, c, d around the texel (row 4, column 4), and around no other."""
CENTER = torch.tensor([4.5, 4.5], dtype=torch.float64) / TEXELS
FEATURES = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
UPSTREAM = torch.tensor([0.7, -1.3, 0.4], dtype=torch.float64)


def image(corners: Tensor) -> Tensor:
    """Corners [4, C] as an image [1, 2, 2, C]."""
    a, b, c, d = corners
    return torch.stack([torch.stack([a, b]), torch.stack([d, c])])[None]


def ours(corners: Tensor, features: Tensor, texels: int = TEXELS) -> Tensor:
    """Features [C, N, N] of a surface that one quad is seen of."""
    return to_surface(image(features).movedim(-1, 1), fragments_of(image(corners)), texels, PLAIN).features[0]


def two_sheets(features: Tensor) -> Tensor:
    """The feature at ``CENTER`` where two equal quads own it, with a row of nothing between them."""
    uv = torch.cat([image(CORNERS), torch.zeros(1, 1, 2, 2), image(CORNERS)], dim=1)
    rows = torch.cat([image(features), torch.zeros(1, 1, 2, 3), image(features)], dim=1).movedim(-1, 1)
    found = to_surface(rows, fragments_of(uv, uv[..., 0] > 0), TEXELS, PLAIN)
    assert int(found.num_quads[0, 4, 4]) == 2
    return found.features[0, :, 4, 4]


def true_uv_gradient(features: Tensor) -> Tensor:
    """By central differences of ours [4, 2], which the gradient of ours equals."""
    corners = CORNERS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(UPSTREAM @ ours(corners, features)[:, 4, 4], corners)
    for k in range(4):
        for axis in range(2):
            step = torch.zeros(4, 2, dtype=torch.float64)
            step[k, axis] = 1e-6
            ahead, behind = (UPSTREAM @ ours(CORNERS + side * step, features)[:, 4, 4] for side in (1, -1))
            assert float((ahead - behind) / 2e-6) == pytest.approx(float(gradient[k, axis]), rel=1e-6)
    return gradient


def test_equation_1_is_right_for_one_quad_and_lacks_the_mean_for_two() -> None:
    weight = appendix.weights(CORNERS, CENTER)
    one, two = appendix.surface_feature([(weight, FEATURES)]), appendix.surface_feature([(weight, FEATURES)] * 2)
    torch.testing.assert_close(one, ours(CORNERS, FEATURES)[:, 4, 4])
    torch.testing.assert_close(two / 2, two_sheets(FEATURES))
    assert not torch.allclose(two, two_sheets(FEATURES), rtol=0.4)


def test_equation_2_lacks_the_mean_and_the_sum_over_texels() -> None:
    weight = appendix.weights(CORNERS, CENTER)
    printed = torch.stack([appendix.feature_gradient(weight[k : k + 1], UPSTREAM) for k in range(4)])
    features = FEATURES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(UPSTREAM @ ours(CORNERS, features)[:, 4, 4], features)
    torch.testing.assert_close(printed, gradient)
    twice = torch.stack([appendix.feature_gradient(weight[[k, k]], UPSTREAM) for k in range(4)])
    (gradient,) = torch.autograd.grad(UPSTREAM @ two_sheets(features), features)
    torch.testing.assert_close(twice / 2, gradient)
    # A finer surface has several texels in the quad; the equation names one.
    surface = ours(CORNERS, features, 32)
    (gradient,) = torch.autograd.grad(surface.sum(), features)
    assert float(gradient.sum()) == pytest.approx(3 * int((surface[0] != 0).sum()))
    assert int((surface[0] != 0).sum()) > 5


def test_equation_4_is_no_identity() -> None:
    """Its two sides differ: it would make every slope a share of itself."""
    slopes, weight = appendix.own_slopes(CORNERS, CENTER), appendix.weights(CORNERS, CENTER)
    printed = appendix.printed_own_slopes(slopes, weight)
    assert float((printed - slopes).norm() / slopes.norm()) > 0.2


def test_a_weight_depends_on_all_corners_not_on_its_own_alone() -> None:
    slopes = appendix.all_slopes(CORNERS, CENTER)
    by_weight = FEATURES @ UPSTREAM
    gradient = true_uv_gradient(FEATURES)
    torch.testing.assert_close(torch.einsum("k,kjx->jx", by_weight, slopes), gradient)
    own = by_weight[:, None] * appendix.own_slopes(CORNERS, CENTER)
    assert float((own - gradient).norm() / gradient.norm()) > 0.3


def test_equation_5_leaves_no_gradient_to_uv() -> None:
    """It is the same for every k, and weights sum to 1, so all that it multiplies cancels."""
    slopes = appendix.all_slopes(CORNERS, CENTER)
    by_weight = appendix.printed_by_weight(ours(CORNERS, FEATURES)[:, 4, 4]).expand(4)
    assert float(torch.einsum("k,kjx->jx", by_weight, slopes).abs().max()) < 1e-12
    assert float(true_uv_gradient(FEATURES).norm()) > 1


def test_equations_3_to_5_together_are_not_the_gradient() -> None:
    """They also change where a constant is added to all features, which moves no difference."""
    slopes, weight = appendix.own_slopes(CORNERS, CENTER), appendix.weights(CORNERS, CENTER)

    def printed(features: Tensor) -> Tensor:
        by_weight = appendix.printed_by_weight(weight @ features)
        return appendix.uv_gradient(appendix.printed_own_slopes(slopes, weight), by_weight, UPSTREAM)

    gradient = true_uv_gradient(FEATURES)
    assert float((printed(FEATURES) - gradient).norm() / gradient.norm()) > 0.3
    torch.testing.assert_close(true_uv_gradient(FEATURES + 1), gradient, rtol=1e-6, atol=1e-9)
    assert float((printed(FEATURES + 1) - printed(FEATURES)).norm()) > 0.3
