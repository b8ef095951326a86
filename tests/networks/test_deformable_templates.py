"""Deformable templates: their start, their limit, their categories, and loading by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from raylift.core.errors import CheckpointError, ConfigError, DataError
from raylift.networks.coordinate_offsets import bounded
from raylift.networks.deformable_templates import (
    START_RADIUS,
    DeformableTemplates,
    DeformableTemplatesConfig,
    decode_names,
    diagonals,
)

SMALL = DeformableTemplatesConfig(level=3, latent=4, hidden=8)


def _awake(
    config: DeformableTemplatesConfig = SMALL, categories: tuple[str, ...] = ("bed", "chair")
) -> DeformableTemplates:
    templates = DeformableTemplates(config, categories, seed=1)
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in templates.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=draws)
        for index in range(len(categories)):
            templates.vertices[index] *= 1 + 0.5 * index
    return templates


def test_untrained_templates_are_spheres_or_cubes_and_do_not_deform() -> None:
    templates = DeformableTemplates(SMALL, ("bed", "chair"))
    category, latent = torch.tensor([0, 1, 1]), torch.randn(3, 4)
    vertices = templates(category, latent)
    assert torch.equal(vertices, templates.undeformed(category))
    torch.testing.assert_close(vertices.norm(dim=-1), torch.full((3, 38), START_RADIUS))
    cubes = DeformableTemplates(DeformableTemplatesConfig("cuboid", level=3), ("bed",))
    torch.testing.assert_close(cubes.vertices.abs().amax(dim=-1), torch.full((1, 38), START_RADIUS))


def test_offsets_are_below_their_limit_however_large_the_network_s_output() -> None:
    templates = _awake()
    with torch.no_grad():
        templates.deformation.last.bias += 100  # type: ignore[union-attr]
    category = torch.tensor([0, 1])
    offsets = templates.offsets(category, torch.randn(2, 4))
    limit = SMALL.max_offset * diagonals(templates.undeformed(category))[..., 0]
    assert bool((offsets.norm(dim=-1) <= limit).all())
    assert bool((offsets.norm(dim=-1) > 0.9 * limit).all())


def test_small_offsets_are_kept_as_they_are() -> None:
    offsets = 1e-3 * torch.randn(5, 3)
    torch.testing.assert_close(bounded(offsets, torch.ones(5, 1)), offsets, atol=1e-8, rtol=1e-4)


def test_a_category_s_shape_does_not_depend_on_the_others() -> None:
    templates = _awake()
    latent = torch.randn(4, 4)
    together = templates(torch.tensor([0, 1, 0, 1]), latent)
    alone = templates(torch.tensor([1, 1]), latent[1::2])
    torch.testing.assert_close(together[1::2], alone)
    assert not torch.allclose(templates(torch.tensor([0, 1]), latent[:1].expand(2, -1))[0] * 1.5, together[1])
    # Weights of a category are the same, whichever number of categories there is.
    fewer, more = (DeformableTemplates(SMALL, names) for names in (("a",), ("a", "b")))
    assert torch.equal(fewer.deformation.latent.weight[0], more.deformation.latent.weight[0])  # type: ignore[union-attr]


def test_gradients_reach_the_latent_and_the_category_s_own_weights() -> None:
    templates = _awake()
    latent = torch.zeros(1, 4, requires_grad=True)
    templates(torch.tensor([1]), latent).square().sum().backward()
    assert latent.grad is not None
    assert float(latent.grad.abs().min()) > 0
    grad = templates.deformation.last.weight.grad  # type: ignore[union-attr]
    assert grad is not None
    assert not bool(grad[0].any())
    assert bool(grad[1].any())


def test_a_stretch_is_the_latent_s_first_three_values_and_bounded() -> None:
    templates = DeformableTemplates(replace(SMALL, max_stretch=0.5), ("bed", "chair"))
    latent = torch.tensor([[0.4, 0.0, -0.2, 3.0], [100.0, -100.0, 0.0, 0.0]])
    found = templates(torch.tensor([0, 1]), latent) / templates.vertices
    expected = torch.exp(0.5 * torch.tanh(latent[:, :3]))
    moved = templates.vertices.abs() > 1e-3
    torch.testing.assert_close(found[moved], expected[:, None].expand_as(found)[moved])
    with pytest.raises(ConfigError, match="max_stretch"):
        DeformableTemplatesConfig(latent=2, max_stretch=0.5)


def test_without_deformation_there_are_no_parameters() -> None:
    rigid = DeformableTemplates(DeformableTemplatesConfig(level=3, latent=4, deforms=False), ("bed",))
    assert not list(rigid.parameters())
    assert torch.equal(rigid(torch.tensor([0]), torch.randn(1, 4)), rigid.vertices)


def test_prior_coordinates_are_standard_deviations() -> None:
    templates = _awake()
    draws = torch.Generator().manual_seed(2)
    templates.latent_mean.normal_(generator=draws)
    templates.latent_factor.copy_(torch.randn(2, 4, 4, generator=draws).tril() + 2 * torch.eye(4))
    category, unit = torch.tensor([1, 0]), torch.randn(2, 4, generator=draws)
    gap = templates.latent_at(category, unit) - templates.latent_mean[category]
    torch.testing.assert_close(torch.linalg.solve(templates.latent_factor[category], gap[..., None])[..., 0], unit)
    torch.testing.assert_close(templates.latent_at(category, torch.zeros(2, 4)), templates.latent_mean[[1, 0]])


def test_a_sample_without_a_template_is_refused() -> None:
    templates = DeformableTemplates(SMALL, ("bed", "chair"))
    with pytest.raises(DataError, match="numbered from 0 to 1"):
        templates(torch.tensor([0, -1]), torch.zeros(2, 4))
    with pytest.raises(ConfigError, match="categories"):
        DeformableTemplates(SMALL, ())


def test_templates_are_loaded_by_the_names_of_their_categories() -> None:
    source = _awake(categories=("bed", "chair", "tische ä"))
    assert decode_names(source.names) == ["bed", "chair", "tische ä"]
    target = DeformableTemplates(SMALL, ("tische ä", "bed"))
    state = {f"templates.{name}": value for name, value in source.state_dict().items()}
    target.load_from(state, "run")
    latent = torch.randn(2, 4)
    torch.testing.assert_close(target(torch.tensor([0, 1]), latent), source(torch.tensor([2, 0]), latent))
    assert decode_names(target.names) == ["tische ä", "bed"]


def test_loaded_templates_keep_the_limit_that_they_were_trained_with_and_may_lose_their_deformation() -> None:
    source = _awake(replace(SMALL, max_offset=0.4, max_stretch=0.7))
    state = {f"templates.{name}": value for name, value in source.state_dict().items()}
    category, latent = torch.tensor([1, 0]), torch.randn(2, 4)
    target = DeformableTemplates(SMALL, ("bed", "chair"))
    target.load_from(state, "run")
    torch.testing.assert_close(target(category, latent), source(category, latent))
    rigid = DeformableTemplates(replace(SMALL, deforms=False), ("bed", "chair"))
    rigid.load_from(state, "run")
    assert torch.equal(rigid(category, latent), source.undeformed(category))


def test_a_checkpoint_without_a_chart_or_a_category_is_refused() -> None:
    target = DeformableTemplates(SMALL, ("bed", "chair"))
    state = {f"templates.{name}": value for name, value in _awake(categories=("bed",)).state_dict().items()}
    with pytest.raises(CheckpointError, match="no template of chair"):
        target.load_from(state, "run")
    with pytest.raises(CheckpointError, match="has no templates"):
        target.load_from({}, "run")
    for broken in ("faces", "corner_uvs"):
        without = {name: value for name, value in state.items() if not name.endswith(broken)}
        with pytest.raises(CheckpointError, match="octahedral chart"):
            target.load_from(without, "run")
    with pytest.raises(CheckpointError, match="octahedral chart"):
        DeformableTemplates(DeformableTemplatesConfig(level=4, latent=4, hidden=8), ("bed",)).load_from(state, "run")
    with pytest.raises(CheckpointError, match="other sizes"):
        DeformableTemplates(DeformableTemplatesConfig(level=3, latent=5, hidden=8), ("bed",)).load_from(state, "run")
