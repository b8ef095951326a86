"""Matching without a pose: banks, proposals, the table of starts, and its scores."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from raylift.core.errors import ConfigError, DataError
from raylift.geometry.pose_grid import PoseRange
from raylift.metrics.pose import rotation_error_deg
from raylift.models.dmnt.inference.coarse_pose import best_starts, start_scores
from raylift.models.dmnt.inference.config import InferenceConfig, StartConfig
from raylift.models.dmnt.inference.evidence import NEVER_SEEN, Evidence, category_scores, proposals, similarity
from raylift.models.dmnt.inference.start_table import build_start_table, start_cameras
from raylift.models.dmnt.inference.texture_banks import TextureBanks, texture_banks
from tests.models.dmnt.planted import LEVELS, Pictures, World, pictures, world

SIDE = 24


@pytest.fixture(scope="module")
def planted() -> World:
    return world(3, "smooth", texels=16, channels=16)


@pytest.fixture(scope="module")
def banks(planted: World) -> TextureBanks:
    return texture_banks(planted.texture.texture, planted.texture.seen, 16)


def _evidence(planted: World, banks: TextureBanks, seen: Pictures) -> Evidence:
    return Evidence.of(seen.features, planted.texture, banks)


def test_banks_average_what_was_seen() -> None:
    texture = torch.nn.functional.normalize(torch.randn(2, 8, 8, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    seen = torch.ones(2, 8, 8)
    seen[0, 0, 1] = 0
    seen[1, :4] = 0
    found = texture_banks(texture, seen, 4)
    assert found.texels == 4
    expected = texture[0, 0, 0] + texture[0, 1, 0] + texture[0, 1, 1]
    assert torch.allclose(found.features[0, 0], expected / expected.norm(), atol=1e-6)
    assert found.seen[0].all()
    assert not found.seen[1, :8].any()
    assert found.seen[1, 8:].all()
    assert not found.features[1, :8].any()


def test_banks_that_were_never_seen_are_refused(planted: World) -> None:
    with pytest.raises(DataError, match="ever seen"):
        texture_banks(planted.texture.texture, torch.zeros_like(planted.texture.seen), 16)


def test_a_category_that_was_never_seen_is_never_proposed(planted: World) -> None:
    seen = planted.texture.seen.clone()
    seen[1] = 0
    banks = texture_banks(planted.texture.texture, seen, 16)
    shown = pictures(planted, 6, SIDE)
    assert (similarity(shown.features, banks, 1) == NEVER_SEEN).all()
    assert (similarity(shown.features, banks, 0) > NEVER_SEEN).all()
    scores = category_scores(_evidence(planted, banks, shown), banks)
    assert torch.isneginf(scores[:, 1]).all()
    assert proposals(scores, 3).shape == (6, 2)
    assert not (proposals(scores, 3) == 1).any()


def test_the_right_category_is_proposed_under_occlusion(planted: World, banks: TextureBanks) -> None:
    """Also with half of the object hidden; a constant answer is right for a third."""
    shown = pictures(planted, 24, SIDE, noise=0.7, hidden=LEVELS[2])
    scores = category_scores(_evidence(planted, banks, shown), banks)
    assert (proposals(scores, 1)[:, 0] == shown.category).float().mean() >= 0.9


def test_evidence_of_coarser_pixels(planted: World, banks: TextureBanks) -> None:
    evidence = _evidence(planted, banks, pictures(planted, 2, SIDE))
    coarse = evidence.coarser(2)
    assert coarse.side == SIDE // 2
    assert torch.allclose(coarse.features.norm(dim=1), torch.ones(2, 12, 12))
    assert torch.allclose(coarse.clutter[0, 0, 0], evidence.clutter[0, :2, :2].mean())
    assert evidence.coarser(1) is evidence
    with pytest.raises(DataError, match="stride"):
        evidence.coarser(5)


def test_starts_are_scored_like_rendered_texels(planted: World, banks: TextureBanks) -> None:
    """The gathered score is that of a loop over pixels, at every offset."""
    config = StartConfig(PoseRange(4, (0.0, 40.0), 2), distances=(2.0, 2.6), max_offset=0.2, offsets=3, max_texels=16)
    table = build_start_table(planted.templates, config, SIDE, banks.texels)
    assert table.texels.shape == (3, 16, SIDE, SIDE)
    assert table.texels.dtype == torch.int16
    assert table.shifts[0].tolist() == [0, 0]
    evidence = _evidence(planted, banks, pictures(planted, 1, SIDE))
    gain = (similarity(evidence.features, banks, 2)[0] - evidence.clutter[0].flatten()).clamp(min=0)
    scores = start_scores(gain, table, 2)
    generator = torch.Generator().manual_seed(3)
    for _ in range(6):
        start, shift = (
            int(torch.randint(16, (1,), generator=generator)),
            int(torch.randint(9, (1,), generator=generator)),
        )
        right, down = table.shifts[shift].tolist()
        total = 0.0
        for row, column in (table.texels[2, start] >= 0).nonzero().tolist():
            if 0 <= row + down < SIDE and 0 <= column + right < SIDE:
                texel = int(table.texels[2, start, row, column])
                total += float(gain[texel, (row + down) * SIDE + column + right])
        assert float(scores[start, shift]) == pytest.approx(total / SIDE**2, rel=1e-4, abs=1e-6)


def test_the_best_start_is_near_the_pose_distance_and_offset(planted: World, banks: TextureBanks) -> None:
    config = StartConfig(distances=(1.9, 2.3, 2.8), max_offset=0.25, offsets=5, max_texels=16)
    shown = pictures(planted, 8, SIDE, noise=0.7, distances=(1.9, 2.8), offset=0.2)
    table = build_start_table(planted.templates, config, SIDE, banks.texels)
    starts = best_starts(_evidence(planted, banks, shown), banks, table, shown.category[:, None], 4)
    first = starts.camera[torch.arange(8) * 4]
    assert starts.score.shape == (8, 1, 4)
    assert (starts.score.diff(dim=2) <= 0).all()
    assert rotation_error_deg(first.rotation, shown.camera.rotation).median() < 18
    assert (first.translation - shown.camera.translation)[:, :2].abs().mean() < 0.08
    assert (first.translation[:, 2] / shown.camera.translation[:, 2]).log().abs().mean() < 0.15


def test_the_default_table_has_144_starts() -> None:
    assert len(start_cameras(StartConfig())) == 144


@pytest.mark.parametrize(
    "change",
    [{"fov_deg": 180.0}, {"distances": ()}, {"distances": (0.0,)}, {"offsets": 3}, {"max_offset": 0.1}, {"stride": 0}],
)
def test_impossible_starts_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        replace(StartConfig(), **change)


@pytest.mark.parametrize(
    "change", [{"num_kept": 0}, {"pose_steps": -1}, {"learning_rate": 0.0}, {"temperature": 0.0}, {"sigma_px": -1.0}]
)
def test_impossible_settings_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        replace(InferenceConfig(), **change)
