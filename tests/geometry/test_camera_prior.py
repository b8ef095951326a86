"""Random views and camera hypotheses: ranges, keys, and agreement with orbit cameras."""

from __future__ import annotations

import pytest
import torch

from raylift.core.errors import ConfigError
from raylift.geometry.camera_conventions import from_weak_perspective
from raylift.geometry.camera_hypotheses import hypotheses_from_numbers, orbit_quaternions
from raylift.geometry.camera_prior import CameraPrior
from raylift.geometry.cameras import orbit, project
from raylift.geometry.rotations import quaternion_multiply, quaternion_to_matrix

KEYS = torch.arange(500)


def test_draws_belong_to_samples() -> None:
    prior = CameraPrior()
    everyone = prior.draw(KEYS, seed=3, step=7)
    part = prior.draw(KEYS[20:30], seed=3, step=7)
    assert all(torch.equal(whole[20:30], own) for whole, own in zip(everyone, part, strict=True))
    assert not torch.equal(prior.draw(KEYS, seed=3, step=8).quaternion, everyone.quaternion)


def test_draws_fill_their_ranges() -> None:
    prior = CameraPrior(azimuth_deg=(-90.0, 90.0), elevation_deg=(10.0, 20.0), scale=(1.0, 2.0), translation=0.1)
    camera = prior.draw(KEYS, seed=0, step=0)
    backward = -quaternion_to_matrix(camera.quaternion)[:, 2]
    elevation = torch.rad2deg(torch.asin(backward[:, 1]))
    azimuth = torch.rad2deg(torch.atan2(backward[:, 0], backward[:, 2]))
    for values, low, high in (
        (elevation, 10, 20),
        (azimuth, -90, 90),
        (camera.scale, 1, 2),
        (camera.translation, -0.1, 0.1),
    ):
        assert low - 1e-3 <= float(values.min()) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < float(values.max()) <= high + 1e-3


@pytest.mark.parametrize("bad", [{"scale": (0.0, 1.0)}, {"elevation_deg": (-100.0, 0.0)}, {"azimuth_deg": (1.0, 0.0)}])
def test_impossible_priors_are_refused(bad: dict[str, tuple[float, float]]) -> None:
    with pytest.raises(ConfigError, match="camera prior"):
        CameraPrior(**bad)  # type: ignore[arg-type]


def test_quaternions_multiply_like_matrices() -> None:
    q, r = torch.randn(2, 5, 4, dtype=torch.float64)
    product = quaternion_to_matrix(quaternion_multiply(q, r))
    torch.testing.assert_close(product, quaternion_to_matrix(q) @ quaternion_to_matrix(r))


def test_zeros_give_orbit_views() -> None:
    azimuths, elevations = torch.tensor([0.0, 45.0, 200.0]), torch.tensor([0.0, 20.0, -10.0])
    base = orbit_quaternions(azimuths, elevations)
    hypotheses = hypotheses_from_numbers(torch.zeros(2, 3, 7), base, torch.zeros(2, 3), 1.6)
    cameras = hypotheses.cameras()
    assert len(cameras) == 6
    for index in range(3):
        expected = orbit(float(azimuths[index]), float(elevations[index])).rotation[0]
        torch.testing.assert_close(cameras.rotation[3 + index], expected, rtol=0, atol=1e-6)
    assert hypotheses.probabilities[0].tolist() == pytest.approx([1 / 3] * 3)
    # World up is the image's top: v decreases.
    uv, _ = project(cameras[0], torch.tensor([[[0.0, 0.5, 0.0], [0.5, 0.0, 0.0]]]))
    torch.testing.assert_close(uv[0], torch.tensor([[0.0, -0.8], [0.8, 0.0]]), rtol=0, atol=1e-6)


def test_the_best_hypothesis_is_the_most_probable() -> None:
    numbers = torch.randn(2, 8, 7)
    logits = torch.zeros(2, 8)
    logits[0, 5], logits[1, 2] = 1.0, 3.0
    hypotheses = hypotheses_from_numbers(
        numbers, orbit_quaternions(torch.arange(8) * 45.0, torch.zeros(8)), logits, 1.0
    )
    best = hypotheses.best()
    assert torch.equal(best.scale, torch.stack([hypotheses.scale[0, 5], hypotheses.scale[1, 2]]))
    torch.testing.assert_close(hypotheses.quaternion.norm(dim=-1), torch.ones(2, 8))
    rotations = from_weak_perspective(best).rotation
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3).expand(2, 3, 3), rtol=0, atol=1e-5)
