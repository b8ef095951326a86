"""The mesh-texture model's decoders: what they start as, sizes, gradients, refusals."""

from __future__ import annotations

import pytest
import torch

from raylift.core.errors import ConfigError
from raylift.geometry.cameras import orbit
from raylift.geometry.icosphere import symmetric_icosphere
from raylift.networks.camera_decoder import CameraDecoder
from raylift.networks.flow_decoder import FlowDecoder, front_view_flow
from raylift.networks.image_encoder import ImageEncoder
from raylift.networks.shape_decoder import ShapeDecoder
from raylift.networks.upsampling_decoder import UpsamplingDecoder
from raylift.networks.variance_decoder import VarianceDecoder

FEATURE = torch.randn(2, 12, generator=torch.Generator().manual_seed(0))


def _every_parameter_learns(module: torch.nn.Module, loss: torch.Tensor) -> None:
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name


@pytest.mark.parametrize("size", [64, 96, 256])
def test_the_encoder_takes_images_of_any_size(size: int) -> None:
    encoder = ImageEncoder("resnet18", num_features=200, width=8)
    image = torch.rand(2, 3, size, size)
    feature = encoder(image)
    assert feature.shape == (2, 200)
    torch.testing.assert_close(encoder(image[1:]), feature[1:], rtol=1e-4, atol=1e-5)  # samples are strangers


@pytest.mark.parametrize("hidden", [0, 16])
def test_first_shapes_are_the_template(hidden: int) -> None:
    template = symmetric_icosphere(1)
    decoder = ShapeDecoder(12, template.num_predicted, hidden)
    offsets = template.expand(decoder(FEATURE))
    assert offsets.shape == (2, 42, 3)
    assert float(offsets.detach().abs().max()) < 0.01
    _every_parameter_learns(decoder, (offsets - 1).square().sum())


@pytest.mark.parametrize("symmetric", [True, False])
def test_first_flows_are_the_initial_one(symmetric: bool) -> None:
    initial = front_view_flow(16, 32)
    decoder = FlowDecoder(12, 16, 32, symmetric, initial, channels=32)
    flow = decoder(FEATURE)
    assert flow.shape == (2, 2, 16, 32)
    assert float(flow.detach().abs().max()) < 1
    if symmetric:
        assert torch.equal(flow, flow.flip(-1))
    torch.testing.assert_close(flow[0, :, :, 16:], initial[:, :, 16:], rtol=0, atol=0.05)
    _every_parameter_learns(decoder, (flow - 0.5).square().sum())


def test_a_front_view_reads_texels_where_a_ball_shows_them() -> None:
    flow = front_view_flow(32, 64, 0.5)
    assert flow[:, 15:17, 31:33].mean(dim=(1, 2)).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)  # the front
    torch.testing.assert_close(flow[:, 16, 48], torch.tensor([0.5, 0.0]), rtol=0, atol=0.03)  # +X: right
    torch.testing.assert_close(flow[:, 0, 32], torch.tensor([0.0, -0.5]), rtol=0, atol=0.03)  # the top: up, v < 0


@pytest.mark.parametrize("channels", [1, 3])
def test_first_variance_images_are_exactly_one(channels: int) -> None:
    decoder = VarianceDecoder(12, 48, channels, limit=2.0, resolution=16, width=32)
    variance = decoder(FEATURE)
    assert variance.shape == (2, channels, 48, 48)
    assert (variance == 1).all()
    torch.nn.init.normal_(decoder.decoder.last.weight, std=100.0)
    wild = decoder(FEATURE)
    assert 0.5 - 1e-6 <= float(wild.min()) < 0.51
    assert 1.99 < float(wild.max()) <= 2 + 1e-6
    torch.nn.init.normal_(decoder.decoder.last.weight, std=0.1)
    _every_parameter_learns(decoder, (decoder(FEATURE) - 3).square().sum())


def test_first_cameras_stand_around_the_object() -> None:
    decoder = CameraDecoder(12, num_hypotheses=8, initial_scale=1.5, elevation_deg=10.0)
    hypotheses = decoder(FEATURE)
    assert hypotheses.scale.shape == (2, 8)
    rotations = hypotheses.cameras().rotation.reshape(2, 8, 3, 3)
    for index in range(8):
        torch.testing.assert_close(rotations[1, index], orbit(45.0 * index, 10.0).rotation[0], rtol=0, atol=5e-3)
    torch.testing.assert_close(hypotheses.scale, torch.full((2, 8), 1.5), rtol=1e-2, atol=0)
    torch.testing.assert_close(hypotheses.probabilities, torch.full((2, 8), 0.125), rtol=1e-2, atol=0)
    camera = hypotheses.cameras()
    values = (camera.rotation * torch.rand(16, 3, 3)).sum() + camera.focal.sum() + camera.principal.sum()
    _every_parameter_learns(decoder, values + hypotheses.probabilities[:, 0].sum())


def test_single_camera_looks_at_the_front() -> None:
    camera = CameraDecoder(12)(FEATURE).cameras()
    assert camera.projection == "orthographic"
    torch.testing.assert_close(camera.rotation[0], orbit(0.0, 0.0).rotation[0], rtol=0, atol=5e-3)


@pytest.mark.parametrize("size", [(8, 8), (16, 32), (16, 8)])
def test_decoders_reach_sizes_by_doubling(size: tuple[int, int]) -> None:
    assert UpsamplingDecoder(12, 5, *size, channels=16)(FEATURE).shape == (2, 5, *size)


def test_impossible_decoders_are_refused() -> None:
    for height, width in ((12, 12), (6, 8), (2, 2), (8, 9)):
        with pytest.raises(ConfigError, match="power of two"):
            UpsamplingDecoder(12, 1, height, width)
    with pytest.raises(ConfigError, match="initial flow"):
        FlowDecoder(12, 16, 32, initial=torch.ones(2, 16, 32))
    with pytest.raises(ConfigError, match="1 or 3 channels"):
        VarianceDecoder(12, 32, channels=2)
    with pytest.raises(ConfigError, match="hypotheses"):
        CameraDecoder(12, num_hypotheses=0)
