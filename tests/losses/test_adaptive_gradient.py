"""Equations 15 to 32: against grid_sample, finite differences and loops; and a coordinate that gets unstuck."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from raylift.core.errors import ConfigError
from raylift.losses.adaptive_gradient import (
    color_error_gradient,
    coordinate_gradient,
    sample_at,
    sampling_gradient,
)
from raylift.losses.adaptive_gradient_analysis import (
    bilinear_weights,
    color_error,
    is_stuck,
    pixel_error_gradient,
    sampled_color,
    sampled_color_error,
)
from raylift.losses.coordinate_search import (
    pseudo_label_loss,
    searched_coordinates,
    searched_reconstruction_error,
)
from tests.benchmarks.adaptive_gradient import search

HEIGHT, WIDTH = 5, 7


def _case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """An image, target colours, and x and y in pixels away from whole numbers."""
    image = torch.rand(3, HEIGHT, WIDTH, dtype=torch.float64)
    x = torch.tensor([0.3, 2.7, 5.9, 4.2], dtype=torch.float64)
    y = torch.tensor([3.8, 0.1, 2.5, 1.9], dtype=torch.float64)
    return image, torch.rand(4, 3, dtype=torch.float64), x, y


def _normalised(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.stack([(2 * x + 1) / WIDTH - 1, (2 * y + 1) / HEIGHT - 1], dim=-1)[None]


def test_equation_22_equals_a_loop_and_sums_to_one() -> None:
    _, _, x, y = _case()
    weights = bilinear_weights(x, y, HEIGHT, WIDTH)
    for n in range(4):
        for j in range(HEIGHT):
            for i in range(WIDTH):
                expected = max(0.0, 1 - abs(float(x[n]) - i)) * max(0.0, 1 - abs(float(y[n]) - j))
                assert float(weights[n, j, i]) == pytest.approx(expected, abs=1e-15)
    torch.testing.assert_close(weights.sum(dim=(1, 2)), torch.ones(4).double())


def test_equation_18_is_grid_sample() -> None:
    image, _, x, y = _case()
    expected = functional.grid_sample(image[None], _normalised(x, y)[:, None], align_corners=False)[0, :, 0].T
    torch.testing.assert_close(sampled_color(image, x, y), expected)
    torch.testing.assert_close(sample_at(image[None], _normalised(x, y))[0], expected)


def test_equations_19_to_25_are_the_derivative_of_the_error() -> None:
    image, target, x, y = _case()
    error = sampled_color_error(image, target, x, y)
    torch.testing.assert_close(error, color_error(sampled_color(image, x, y), target))
    torch.testing.assert_close(error[2], sum((sampled_color(image, x, y)[2, c] - target[2, c]) ** 2 for c in range(3)))
    slope = pixel_error_gradient(image, target, x, y)
    step = 1e-6
    for along, dx, dy in ((slope.x, step, 0.0), (slope.y, 0.0, step)):
        ahead = sampled_color_error(image, target, x + dx, y + dy)
        behind = sampled_color_error(image, target, x - dx, y - dy)
        torch.testing.assert_close(along, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-8)
    # Equations 20 and 21: the same by the chain rule, from the slope of the colour. Both are per pixel here, and per
    # unit of normalised coordinates in training.
    here, in_pixels = _normalised(x, y), torch.tensor([2 / WIDTH, 2 / HEIGHT])
    by_chain = color_error_gradient(
        sample_at(image[None], here), target[None], sampling_gradient(image[None], here) * in_pixels
    )
    torch.testing.assert_close(by_chain[0], torch.stack(slope, dim=-1))
    trained = coordinate_gradient(image[None], target[None], here)[0] * in_pixels
    torch.testing.assert_close(trained, torch.stack(slope, dim=-1))


def test_equation_26_equal_pixels_leave_no_gradient() -> None:
    image, target, x, y = _case()
    image[:, 2:5, 0:3] = torch.tensor([0.2, 0.5, 0.9]).double()[:, None, None]
    # Anywhere between the equal pixels, in the centre of a cell and out of it.
    x, y = torch.tensor([0.5, 1.1, 1.9, 4.5]).double(), torch.tensor([2.5, 3.7, 2.0, 2.5]).double()
    slope = pixel_error_gradient(image, target, x, y)
    assert is_stuck(image, x, y).tolist() == [True, True, True, False]
    assert float(torch.stack(slope)[:, :3].abs().max()) < 1e-14
    assert float(torch.stack(slope)[:, 3].abs().min()) > 1e-3


def test_equations_27_to_30_free_it() -> None:
    """Against autograd through grid_sample of the product."""
    image, target, x, y = _case()
    image[:] = 0.5
    variance = 0.5 + torch.rand(1, HEIGHT, WIDTH, dtype=torch.float64)
    x.requires_grad_()
    y.requires_grad_()
    grid = _normalised(x, y)[:, None]
    color = functional.grid_sample((image * variance)[None], grid, align_corners=False)[0, :, 0].T
    expected = torch.autograd.grad((color - target).square().sum(), (x, y))
    slope = pixel_error_gradient(image * variance, target, x, y)
    torch.testing.assert_close(slope.x, expected[0])
    torch.testing.assert_close(slope.y, expected[1])
    trained = coordinate_gradient((image * variance)[None], target[None], _normalised(x, y))[0]
    torch.testing.assert_close(trained * torch.tensor([2 / WIDTH, 2 / HEIGHT]), torch.stack(slope, dim=-1))
    assert float(slope.x.detach().abs().min()) > 1e-4


@pytest.mark.parametrize("place", ["inside", "beyond"])
def test_equations_15_to_17_are_grid_samples_derivative(place: str) -> None:
    image = torch.rand(2, 3, HEIGHT, WIDTH, dtype=torch.float64)
    variance = 0.5 + torch.rand(2, 1, HEIGHT, WIDTH, dtype=torch.float64)
    reach = 0.7 if place == "inside" else 1.4
    coordinates = (reach * (2 * torch.rand(2, 6, 2, dtype=torch.float64) - 1)).requires_grad_()
    read = functional.grid_sample(image * variance, coordinates[:, None], padding_mode="border", align_corners=False)
    ours = sampling_gradient(image * variance, coordinates)
    for channel in range(3):
        (expected,) = torch.autograd.grad(read[:, channel].sum(), coordinates, retain_graph=True)
        torch.testing.assert_close(ours[:, :, channel], expected)
    torch.testing.assert_close(sample_at(image * variance, coordinates), read[:, :, 0].mT)


def test_second_derivatives() -> None:
    """What grid_sample lacks: the slope's own derivative by image and coordinates."""
    image = torch.rand(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    coordinates = torch.tensor([[[0.11, -0.37], [0.4, 0.6]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sampling_gradient, (image, coordinates))
    assert torch.autograd.gradcheck(sample_at, (image, coordinates))


def test_searched_coordinates_are_gradient_descent() -> None:
    """Two steps against autograd on grid_sample."""
    image = torch.rand(1, 3, HEIGHT, WIDTH, dtype=torch.float64)
    target = torch.rand(1, 4, 3, dtype=torch.float64)
    start = 0.5 * (2 * torch.rand(1, 4, 2, dtype=torch.float64) - 1)
    here = start
    for _ in range(2):
        here = here.detach().requires_grad_()
        read = functional.grid_sample(image, here[:, None], padding_mode="border", align_corners=False)[:, :, 0].mT
        (slope,) = torch.autograd.grad((read - target).square().sum(), here)
        here = here - 0.01 * slope
    torch.testing.assert_close(searched_coordinates(start, image, target, 0.01, 2), here.detach())


def test_equation_31_trains_the_variance_image_through_the_step() -> None:
    image = torch.full((1, 3, 6, 6), 0.5, dtype=torch.float64)
    image[..., 5] = 0.9
    # Far from bilinear kinks, so that finite differences see one branch.
    coordinates, label = torch.tensor([[[-0.41, 0.08]]]).double(), torch.tensor([[[0.7, 0.1]]]).double()
    variance = (0.8 + 0.4 * torch.rand(1, 1, 6, 6, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v: pseudo_label_loss(coordinates, image, v, label, 0.01, 2), variance, fast_mode=True
    )
    plain = pseudo_label_loss(coordinates, image, torch.ones_like(variance), label, 0.01)
    torch.testing.assert_close(plain[0, 0], (coordinates - label).norm())  # stuck: the step goes nowhere
    assert torch.equal(pseudo_label_loss(coordinates, image, variance, label, 0.01, 0), plain)


def test_steps_by_distance_are_shares_of_the_way_however_flat_the_image() -> None:
    """An image 100 times flatter is stepped on alike; a flat one not at all. So equation 31 trains I_var."""
    image = torch.rand(1, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    start, label = (
        torch.tensor([[[-0.4, 0.1], [0.3, 0.3]]]).double(),
        torch.tensor([[[0.5, 0.2], [-0.1, 0.7]]]).double(),
    )
    target = sample_at(image, label)
    left = (start - label).norm(dim=-1)
    way = (searched_coordinates(start, 10 * image, 10 * target, 0.5, label=label) - start).norm(dim=-1)
    torch.testing.assert_close(way, 0.5 * left, rtol=1e-3, atol=0)
    small = (searched_coordinates(start, image, target, 0.5, label=label) - start).norm(dim=-1)
    assert bool((small > 0.3 * left).all()), "as a plain factor of the gradient it was hundredths of a pixel"
    start.requires_grad_()
    reached = searched_coordinates(start, 10 * image, 10 * target, 0.5, label=label)
    assert torch.equal(torch.autograd.grad(reached.sum(), start)[0], torch.ones_like(start)), "the step is a constant"
    start.requires_grad_(False)
    flat = torch.full_like(image, 0.5)
    assert torch.equal(searched_coordinates(start, flat, target, 0.5, label=label), start)
    variance = (0.9 + 0.2 * torch.rand(1, 1, 8, 8, dtype=torch.float64)).requires_grad_()
    objective = pseudo_label_loss(start, image, variance, label, 0.5, by_distance=True)
    (slope,) = torch.autograd.grad(objective.mean(), variance)
    assert float(slope.norm()) > 0.05
    assert torch.autograd.gradcheck(
        lambda v: pseudo_label_loss(start, image, v, label, 0.5, by_distance=True), variance, fast_mode=True
    )


def test_equation_32_renders_what_the_searched_coordinates_read() -> None:
    image = torch.rand(1, 3, 4, 4, dtype=torch.float64)
    variance = 0.5 + torch.rand(1, 1, 4, 4, dtype=torch.float64)
    coordinates, target = torch.zeros(1, 16, 2).double() + 0.2, torch.rand(1, 16, 3).double()
    error = searched_reconstruction_error(
        coordinates, image, variance, target, lambda colors: colors.mT.reshape(1, 3, 4, 4), 0.01
    )
    reached = searched_coordinates(coordinates, image * variance, target, 0.01)
    read = functional.grid_sample(image, reached.reshape(1, 4, 4, 2), align_corners=False)
    torch.testing.assert_close(error, (read - image).abs().mean(dim=1))


def test_a_stuck_coordinate_reaches_its_target_with_the_variance_image_only() -> None:
    without, with_variance = search(False), search(True)
    assert torch.equal(without.ways[0], without.ways[-1])
    assert float(without.distance_px.min()) > 13
    assert float(with_variance.distance_px.max()) < 0.5


def test_too_small_images_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 x 2"):
        sample_at(torch.rand(1, 3, 1, 5), torch.zeros(1, 1, 2))
