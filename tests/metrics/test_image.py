"""PSNR and SSIM against closed forms and a slow reference; LPIPS against the published package."""

from __future__ import annotations

import math

import lpips
import numpy as np
import pytest
import torch

from raylift.core.errors import WeightsError
from raylift.metrics.image import psnr, ssim
from raylift.networks.perceptual import PerceptualDistance


def _pictures(seed: int = 0, size: int = 24) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first = rng.random((size, size, 3)).astype(np.float32)
    return first, (first + rng.normal(0, 0.1, first.shape)).clip(0, 1).astype(np.float32)


def test_psnr_closed_form() -> None:
    truth = np.full((8, 8, 3), 0.5, np.float32)
    assert math.isclose(psnr(truth + 0.1, truth), 20.0, rel_tol=1e-5)
    assert psnr(truth, truth) == 100.0
    mask = np.zeros((8, 8), bool)
    mask[2, 3] = True
    picture = truth.copy()
    picture[2, 3] += 0.01
    assert math.isclose(psnr(picture, truth, mask), 40.0, rel_tol=1e-4)
    assert psnr(picture, truth) > 55


def test_ssim_is_its_definition() -> None:
    first, second = _pictures()
    whole, masked = ssim(first, second, np.ones(first.shape[:2], bool))
    values = []
    for row in range(3, 21):
        for column in range(3, 21):
            for channel in range(3):
                a = first[row - 3 : row + 4, column - 3 : column + 4, channel].astype(float).ravel()
                b = second[row - 3 : row + 4, column - 3 : column + 4, channel].astype(float).ravel()
                covariance = np.cov(a, b)
                values.append(
                    (2 * a.mean() * b.mean() + 1e-4)
                    * (2 * covariance[0, 1] + 9e-4)
                    / ((a.mean() ** 2 + b.mean() ** 2 + 1e-4) * (covariance[0, 0] + covariance[1, 1] + 9e-4))
                )
    assert math.isclose(whole, float(np.mean(values)), rel_tol=1e-9)
    assert masked is not None
    assert abs(masked - whole) < 0.1
    assert ssim(first, first)[0] == pytest.approx(1.0)
    assert ssim(first, second)[1] is None


def _random_weights(trunk: str) -> tuple[dict[str, torch.Tensor], torch.nn.Module]:
    """The published implementation with a random trunk, and its weights under our names."""
    short = {"alexnet": "alex", "vgg16": "vgg"}[trunk]
    with pytest.warns(UserWarning, match="pretrained|weight enum"):  # it still passes torchvision's old argument
        reference = lpips.LPIPS(net=short, pnet_rand=True, verbose=False)
    slices = [getattr(reference.net, f"slice{index}") for index in range(1, 6)]
    weights = {
        f"features.{name}.{kind}": getattr(layer, kind)
        for part in slices
        for name, layer in part.named_children()
        if isinstance(layer, torch.nn.Conv2d)
        for kind in ("weight", "bias")
    }
    weights |= {f"heads.{index}": getattr(reference, f"lin{index}").model[1].weight.flatten() for index in range(5)}
    return weights, reference


@pytest.mark.parametrize("trunk", ["alexnet", "vgg16"])
def test_lpips_equals_the_published_package(trunk: str) -> None:
    weights, reference = _random_weights(trunk)
    distance = PerceptualDistance(trunk, weights)  # type: ignore[arg-type]
    first, second = torch.rand(2, 3, 64, 48), torch.rand(2, 3, 64, 48)
    ours, theirs = distance(first, second), reference(first, second, normalize=True).flatten()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert (distance(first, first) == 0).all()


def test_lpips_can_be_trained_through() -> None:
    """Its gradient is finite even where a picture gives no activation at all, and points the right way."""
    weights, _ = _random_weights("alexnet")
    silent = {name: value * 0 if name.startswith("features.0") else value for name, value in weights.items()}
    blank = torch.full((1, 3, 64, 64), 0.5, requires_grad=True)
    PerceptualDistance("alexnet", silent)(blank, torch.rand(1, 3, 64, 64)).sum().backward()
    assert blank.grad is not None
    assert blank.grad.isfinite().all()
    distance = PerceptualDistance("alexnet", weights)
    picture, truth = torch.rand(1, 3, 64, 64).requires_grad_(), torch.rand(1, 3, 64, 64)
    start = distance(picture, truth)
    (slope,) = torch.autograd.grad(start.sum(), picture)
    assert distance((picture - 0.01 * slope.sign()).detach(), truth).item() < start.item()


def test_lpips_refuses_weights_that_do_not_fit() -> None:
    weights, _ = _random_weights("alexnet")
    with pytest.raises(WeightsError, match=r"heads\.4 is missing"):
        PerceptualDistance("alexnet", {name: value for name, value in weights.items() if name != "heads.4"})
    with pytest.raises(WeightsError, match="of shape"):
        PerceptualDistance("alexnet", weights | {"features.0.bias": torch.zeros(3)})
