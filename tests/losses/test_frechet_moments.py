"""The Fréchet distance to a whole set: its value, its gradient, and that neither depends on how long training runs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from raylift.core.errors import ConfigError
from raylift.losses.frechet import frechet_distance
from raylift.losses.frechet_moments import RealMoments, RenderedMoments, running_frechet_share

WIDTH = 6


def _draw(count: int, seed: int = 0, width: int = WIDTH) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return torch.randn(count, width, generator=draws, dtype=torch.float64) @ mixing


def _real(features: Tensor, rank: int = WIDTH) -> RealMoments:
    real = RealMoments(features.shape[1], rank)
    for part in features.split(7):
        real.collect(part)
    real.fix()
    return real


def test_one_batch_has_the_distance_of_its_set() -> None:
    real, rendered = _draw(40), 0.5 + 0.7 * _draw(30, seed=1)
    distance = RenderedMoments(WIDTH, WIDTH, 0.9).distance(rendered, _real(real))
    torch.testing.assert_close(distance, frechet_distance(real, rendered), rtol=1e-9, atol=0)


def test_averages_weigh_the_batches() -> None:
    """With decay 1/2 batches of one size count 1, 2 and 4: the distance of the set that repeats them so."""
    real, moments, batches = (
        _real(_draw(40)),
        RenderedMoments(WIDTH, WIDTH, 0.5),
        [_draw(9, seed) for seed in (1, 2, 3)],
    )
    for batch in batches[:2]:
        moments.update(batch, real)
    repeated = torch.cat([batches[0], *batches[1:2] * 2, *batches[2:] * 4])
    expected = frechet_distance(_draw(40), repeated)
    torch.testing.assert_close(moments.distance(batches[2], real), expected, rtol=1e-9, atol=0)


def test_fewer_directions_are_an_upper_bound_and_exact_where_the_real_set_has_no_more() -> None:
    flat = _draw(40)[:, :3] @ torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    rendered = _draw(30, seed=1)
    exact = frechet_distance(flat, rendered)
    torch.testing.assert_close(RenderedMoments(WIDTH, 3).distance(rendered, _real(flat, 3)), exact, rtol=1e-7, atol=0)
    assert float(RenderedMoments(WIDTH, 2).distance(rendered, _real(flat, 2))) > float(exact)


def test_the_batchs_gradient_is_the_derivative_at_the_average() -> None:
    """With the batch equal to the average, it is the plain distance's; by finite differences inside ``gradcheck``."""
    real, rendered = _draw(40), (0.5 + _draw(9, seed=1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: RenderedMoments(WIDTH, WIDTH, 0.9).distance(x, _real(real)), rendered)
    moments = RenderedMoments(WIDTH, WIDTH, 0.9)
    for _ in range(3):
        moments.update(rendered.detach(), _real(real))
    (late,) = torch.autograd.grad(moments.distance(rendered, _real(real)), rendered)
    (plain,) = torch.autograd.grad(frechet_distance(real, rendered), rendered)
    torch.testing.assert_close(late, plain, rtol=1e-7, atol=1e-9)


def test_the_gradient_does_not_fade() -> None:
    """Stationary features, 200 steps: the gradient stays within a factor of 2 once the averages have settled."""
    real, moments, norms = _real(_draw(500)), RenderedMoments(WIDTH, WIDTH, 0.99), []
    for step in range(200):
        rendered = (0.5 + 0.6 * _draw(16, seed=step + 1)).requires_grad_()
        (slope,) = torch.autograd.grad(running_frechet_share(rendered, real, moments), rendered)
        moments.update(rendered.detach(), real)
        norms.append(float(slope.norm()))
    early, late = sum(norms[5:25]) / 20, sum(norms[-20:]) / 20
    assert 0.5 < late / early < 2
    assert max(norms) < 5 * late


def test_it_counts_from_when_the_real_moments_are_fixed() -> None:
    real, rendered = RealMoments(WIDTH), _draw(9).requires_grad_()
    share = running_frechet_share(rendered, real, RenderedMoments(WIDTH, real.rank))
    share.backward()
    assert share.item() == 0
    assert rendered.grad is not None
    assert not rendered.grad.any()
    with pytest.raises(ConfigError, match="rank"):
        RealMoments(WIDTH, 0)
    with pytest.raises(ConfigError, match="decay"):
        RenderedMoments(WIDTH, WIDTH, 1.0)
