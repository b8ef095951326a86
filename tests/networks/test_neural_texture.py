"""Banks of features: reading across the chart's border, and updates that count what was seen."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from raylift.core.collectives import rank, world_size
from raylift.core.errors import ConfigError
from raylift.geometry.octahedral import directions_of
from raylift.networks.neural_texture import NeuralTexture, NeuralTextureConfig
from raylift.testing.ranks import run_ranks

SIDE, CHANNELS = 8, 6


def bank(seen: bool = True, **config: float) -> NeuralTexture:
    made = NeuralTexture(NeuralTextureConfig(texels=SIDE, num_clutter=3, clutter_patience=4), 2, CHANNELS).double()
    made.config = NeuralTextureConfig(texels=SIDE, num_clutter=3, **{"clutter_patience": 4, **config})
    made.seen.fill_(float(seen))
    return made


def centres() -> Tensor:
    line = (torch.arange(SIDE, dtype=torch.float64) + 0.5) / SIDE
    v, u = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([u, v], dim=-1)


def test_a_texel_is_read_at_its_centre() -> None:
    texture = bank()
    found = texture.read(torch.tensor([1]), centres()[None])[0]
    torch.testing.assert_close(found, texture.texture[1])
    texels = texture.texels_at(centres())
    assert texels.flatten().tolist() == list(range(SIDE * SIDE))
    torch.testing.assert_close(texture.texel_features(torch.ones_like(texels), texels), texture.texture[1])
    torch.testing.assert_close(texture.directions.view(SIDE, SIDE, 3), directions_of(centres()))


def test_reading_has_no_seam() -> None:
    """The chart glues (1, v) to (1, 1 - v): both sides of the border read the same."""
    texture, v = bank(), torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    one = torch.ones_like(v)
    for side in (torch.zeros_like(v), one):
        here = texture.read(torch.tensor([0]), torch.stack([side, v], dim=-1)[None, None])
        there = texture.read(torch.tensor([0]), torch.stack([side, 1 - v], dim=-1)[None, None])
        torch.testing.assert_close(here, there)


def test_reading_is_differentiable_in_uv() -> None:
    texture = bank()
    uv = torch.rand(1, 2, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda uv: texture.read(torch.tensor([0]), uv), uv.requires_grad_())


def test_what_was_never_seen_resembles_nothing() -> None:
    texture = bank(seen=False)
    assert not texture.read(torch.tensor([0]), centres()[None]).any()
    raw = texture.read(torch.tensor([0]), centres()[None], unseen=True)
    torch.testing.assert_close(raw.norm(dim=-1), torch.ones_like(raw[..., 0]))
    texture.seen[0, 2, 3] = 1
    read = texture.read(torch.tensor([0]), (centres()[2:4, 3] + 0.3 / SIDE)[None, None])
    torch.testing.assert_close(read[0, 0, 0], texture.texture[0, 2, 3])
    assert not read[0, 0, 1].any()


def test_a_texel_moves_by_its_own_count() -> None:
    """Two images that show a place move it as far as one that shows it twice as clearly, and no other place moves."""
    texture = bank(seen=False, momentum=0.5)
    before = texture.texture.clone()
    feature = normalize(torch.arange(1.0, 7.0, dtype=torch.float64), dim=0)
    places = torch.tensor([[5, 5], [9, 60]])
    valid = torch.tensor([[True, True], [True, False]])
    texture.update(torch.tensor([0, 1]), places, feature.expand(2, 2, -1), valid)
    for category, place in ((0, 5), (1, 9)):
        wanted = normalize(0.5 * before[category].flatten(0, 1)[place] + 0.5 * feature, dim=0)
        torch.testing.assert_close(texture.texture[category].flatten(0, 1)[place], wanted)
    moved = (texture.texture != before).any(dim=-1).flatten(1)
    assert moved.nonzero().tolist() == [[0, 5], [1, 9]]
    assert texture.seen.flatten(1)[[0, 1], [5, 9]].tolist() == [2, 1]
    assert int(texture.seen.sum()) == 3


def background(count: int = 24) -> Tensor:
    """Features around three directions."""
    draws = torch.Generator().manual_seed(2)
    axes = torch.eye(CHANNELS, dtype=torch.float64)[:3]
    noise = torch.randn(count, CHANNELS, generator=draws, dtype=torch.float64)
    return normalize(axes[torch.arange(count) % 3] + 0.1 * noise, dim=-1)


def test_prototypes_of_clutter_find_what_the_background_looks_like() -> None:
    texture = bank(clutter_momentum=0.0, clutter_patience=2)
    features = background()[None]
    for step in range(12):
        texture.update_clutter(features, torch.ones(1, 24, dtype=torch.bool), 0, step)
    scores = texture.scores(features.mT[..., None])
    assert scores.shape == (1, 24, 1)
    assert bool((scores > 0.9).all())
    assert bool((texture.scores(-features.mT[..., None]) < 0.5).all())


def test_features_that_do_not_count_move_nothing() -> None:
    texture = bank()
    before = texture.clutter.clone()
    texture.update_clutter(background()[None], torch.zeros(1, 24, dtype=torch.bool), 0, 0)
    assert torch.equal(texture.clutter, before)


def test_without_prototypes_clutter_scores_zero() -> None:
    texture = NeuralTexture(NeuralTextureConfig(texels=2, num_clutter=0), 1, CHANNELS)
    assert texture.scores(torch.ones(1, CHANNELS, 2, 2)).tolist() == [[[0, 0], [0, 0]]]
    texture.update_clutter(torch.ones(1, 4, CHANNELS), torch.ones(1, 4, dtype=torch.bool), 0, 0)


def updated_banks() -> dict[str, Tensor]:
    """State after two steps of this rank's part of a global batch of five images."""
    texture, draws = bank(seen=False), torch.Generator().manual_seed(1)
    for step in range(2):
        category, places = torch.tensor([0, 1, 0, 1, 1]), torch.randint(0, 20, (5, 12), generator=draws)
        features = normalize(torch.randn(5, 12, CHANNELS, generator=draws, dtype=torch.float64), dim=-1)
        valid = torch.rand(5, 12, generator=draws) > 0.3
        part = slice(rank() * 5 // world_size(), (rank() + 1) * 5 // world_size())
        texture.update(category[part], places[part], features[part], valid[part])
        texture.update_clutter(features[part], valid[part], 3, step)
    return {name: value.clone() for name, value in texture.named_buffers()}


def test_every_rank_has_the_banks_of_one() -> None:
    alone = updated_banks()
    for found in run_ranks(2, updated_banks):
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-12)


def test_impossible_banks_are_refused() -> None:
    with pytest.raises(ConfigError, match="texels"):
        NeuralTextureConfig(texels=1)
    with pytest.raises(ConfigError, match="momenta"):
        NeuralTextureConfig(momentum=1.0)
