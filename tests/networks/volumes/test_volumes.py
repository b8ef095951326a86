"""Both representations answer alike: densities, colours, values, baked grids."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from raylift.core import device_memory
from raylift.core.errors import ConfigError
from raylift.geometry.voxels import grid_points
from raylift.networks.volumes.config import VolumeConfig
from raylift.networks.volumes.decoder import VolumeDecoder, build_decoder
from raylift.networks.volumes.volume import Volume

SMALL: dict[str, object] = {"resolution": 8, "bake_resolution": 16, "width": 8, "channels": 4, "hidden": 8}
KINDS = (("voxels", "sum"), ("triplane", "sum"), ("triplane", "product"), ("triplane", "concat"))
CONFIGS = [
    VolumeConfig(representation=representation, geometry=geometry, combine=combine, **SMALL)  # type: ignore[arg-type]
    for representation, combine in KINDS
    for geometry in ("occupancy", "sdf")
]
each_config = pytest.mark.parametrize(
    "config", CONFIGS, ids=[f"{config.representation}-{config.combine}-{config.geometry}" for config in CONFIGS]
)


def decoder(config: VolumeConfig, loud: float = 1.0) -> VolumeDecoder:
    """A decoder; ``loud`` multiplies its heads' weights, so that the shape is far from the initial ball."""
    torch.manual_seed(0)
    made = build_decoder(config, 6)
    with torch.no_grad():
        (made.voxels.head.weight if config.representation == "voxels" else made.points.second.weight).mul_(loud)
    return made


def points(count: int = 50, within: float = 0.55) -> Tensor:
    return within * (2 * torch.rand(2, count, 3, generator=torch.Generator().manual_seed(1)) - 1)


def latents() -> Tensor:
    return torch.randn(2, 6, generator=torch.Generator().manual_seed(2))


@each_config
def test_a_bake_holds_what_points_read_at_the_centres_of_cells(config: VolumeConfig) -> None:
    volume: Volume = decoder(config, loud=20.0)(latents())
    for resolution in (16, 12):
        grid = volume.bake(resolution)
        centers = torch.from_numpy(grid_points(resolution)).expand(2, -1, -1)
        assert grid.kind == ("occupancy" if config.geometry == "occupancy" else "density")
        assert grid.half_extent == config.half_extent
        torch.testing.assert_close(grid.density.flatten(1), volume.density(centers), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(grid.features.flatten(2).mT, volume.features(centers), atol=1e-5, rtol=1e-4)
    assert volume.bake().density.shape == (2, 16, 16, 16)


@each_config
def test_ranges_and_signs(config: VolumeConfig) -> None:
    volume = decoder(config, loud=20.0)(latents())
    density, rgb, values = volume.density(points()), volume.features(points()), volume.values(points())
    assert (density >= 0).all()
    assert ((rgb >= 0) & (rgb <= 1)).all()
    within = points().abs().amax(-1) < 0.5
    if config.geometry == "occupancy":
        assert (density <= 1).all()
        assert torch.equal((values < 0)[within], (density > config.level)[within])
    else:
        half = 0.5 / volume.geometry.beta  # type: ignore[operator]
        assert torch.equal((values < 0)[within], (density > half)[within])
    assert density.std() > 0
    assert (density[0] - density[1]).abs().max() > 1e-3, "the latent decides the shape"
    assert (rgb[0] - rgb[1]).abs().max() > 1e-3, "and its colour"


@each_config
def test_a_decoder_starts_as_a_visible_ball(config: VolumeConfig) -> None:
    volume = decoder(config)(latents())
    directions = torch.nn.functional.normalize(points(), dim=-1)
    center, inside, outside = (volume.density(radius * directions) for radius in (0.0, 0.15, 0.52))
    assert (volume.values(0.15 * directions) < 0).all()
    assert (volume.values(0.52 * directions) > 0).all()
    assert (inside > 5 * outside).all()
    if config.geometry == "occupancy":
        assert ((center > 0.1) & (center < 0.6)).all(), "neither saturated nor invisible"


@each_config
def test_nothing_is_beyond_the_cube(config: VolumeConfig) -> None:
    made = decoder(config)
    with torch.no_grad():
        (made.voxels.head.bias if config.representation == "voxels" else made.points.second.bias)[0] = (
            9.0 if config.geometry == "occupancy" else -20.0
        )
    volume = made(latents())
    beyond = torch.tensor([[0.56, 0.0, 0.0], [0.0, -0.6, 0.2], [0.1, 0.2, 3.0]]).expand(2, -1, -1)
    assert (volume.density(beyond) == 0).all()
    assert (volume.values(beyond) > 0).all()
    assert (volume.values(0.9 * points()) < 0).all(), "the whole cube is full"


@each_config
def test_every_parameter_has_a_gradient_from_the_first_step(config: VolumeConfig) -> None:
    made = decoder(config)
    style = latents().requires_grad_()
    grid = made(style).bake()
    (grid.density.mean() + grid.features.square().mean()).backward()
    silent = [name for name, parameter in made.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert not silent
    assert style.grad is not None
    assert style.grad.abs().amin() > 0


@each_config
def test_a_sample_does_not_depend_on_its_batch(config: VolumeConfig) -> None:
    made = decoder(config, loud=20.0)
    together, alone = made(latents()).bake(), made(latents()[1:]).bake()
    torch.testing.assert_close(together.density[1:], alone.density, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(together.features[1:], alone.features, atol=1e-6, rtol=1e-5)


@each_config
def test_coordinates_and_results_stay_float32_under_autocast(config: VolumeConfig) -> None:
    made = decoder(config)
    places = points().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        volume = made(latents())
        density, rgb, grid = volume.density(places), volume.features(places), volume.bake()
    density.sum().backward(retain_graph=True)
    assert density.dtype == rgb.dtype == torch.float32
    assert grid.density.dtype == grid.features.dtype == torch.float32
    assert places.grad is not None
    assert places.grad.dtype == torch.float32
    exact = points().requires_grad_()
    volume.density(exact).sum().backward()
    torch.testing.assert_close(places.grad, exact.grad)


@each_config
@pytest.mark.parametrize("upsampling", ["trilinear", "nearest"])
def test_a_symmetric_decoder_is_equal_on_both_sides(config: VolumeConfig, upsampling: str) -> None:
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    for symmetric in (True, False):
        made = decoder(replace(config, symmetric=symmetric, upsampling=upsampling), loud=20.0)  # type: ignore[arg-type]
        volume = made(latents())
        for read in (volume.density, volume.features, volume.values):
            difference = (read(points()) - read(points() * mirror)).abs().max() / read(points()).abs().max()
            assert (difference < 1e-6) if symmetric else (difference > 1e-3)
        grid = volume.bake(12)
        assert ((grid.density - grid.density.flip(1)).abs().max() < 1e-6 * grid.density.max()) == symmetric


def test_a_grid_that_does_not_fit_is_refused_with_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = decoder(CONFIGS[0])(latents())
    with pytest.raises(ConfigError, match=r"a 100000\^3 grid of 2 shapes needs 40,000,000,000,000,000 bytes"):
        volume.bake(100_000)
    with pytest.raises(ConfigError, match="needs 168,000,000,000,000,000 bytes"):
        decoder(CONFIGS[2])(latents()).bake(100_000)
    monkeypatch.setattr(device_memory, "free_bytes", lambda device="cpu": 1000)
    with pytest.raises(ConfigError, match="1 volume of voxels needs 139,264 bytes; 1,000 are free"):
        build_decoder(CONFIGS[0], 6)
    with pytest.raises(ConfigError, match="decoding 3 volumes of voxels needs"):
        VolumeDecoder(CONFIGS[0], 6)(torch.zeros(3, 6))


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ({"resolution": 12}, "4 times a power of two"),
        ({"resolution": 2}, "4 times a power of two"),
        ({"bake_resolution": 24}, "use 16 or 32"),
        ({"width": 8}, "a width of at least that"),
        ({"channels": 0}, "at least 1 channel"),
        ({"hidden": 0}, "at least 1"),
        ({"half_extent": 0.0}, "a length"),
        ({"initial_radius": 0.6}, "a radius in"),
        ({"initial_beta": 0.0}, "such as 0.1"),
        ({"level": 1.0}, "an occupancy in"),
        ({"representation": "triplane", "group": "o"}, "symmetric=true"),
    ],
)
def test_an_impossible_config_is_refused_with_a_remedy(wrong: dict[str, object], remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        VolumeConfig(**wrong)  # type: ignore[arg-type]
    assert remedy in caught.value.remedy
