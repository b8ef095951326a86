"""Paint outside of the object is counted; colour composited with its own coverage is not."""

from __future__ import annotations

import pytest
import torch

from raylift.metrics.painted_background import painted_background


def _disc(size: int = 32, radius: float = 0.5) -> torch.Tensor:
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    distance = (axis[:, None] ** 2 + axis[None] ** 2).sqrt()
    return ((radius - distance) * size / 2 + 0.5).clamp(0, 1)[None, None]


def test_composited_colour_has_none_on_any_background() -> None:
    alpha = _disc().expand(2, -1, -1, -1)
    background = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert painted_background(0.2 * alpha + (1 - alpha), alpha).tolist() == [0.0, 0.0]
    assert painted_background(0.2 * alpha + (1 - alpha) * background, alpha, background).abs().max() < 1e-9


def test_paint_outside_is_its_share_of_the_energy() -> None:
    alpha = torch.zeros(1, 1, 16, 16)
    alpha[..., :4] = 1.0
    rgb = torch.ones(1, 3, 16, 16)
    rgb[..., :4] = 0.5
    rgb[..., 12:] = 0.5
    assert float(painted_background(rgb, alpha)) == pytest.approx(0.5)
    rgb[..., 4:6] = 0.0  # within the margin: a blurred edge is no paint
    assert float(painted_background(rgb, alpha)) == pytest.approx(1 / 4)
    assert float(painted_background(rgb, alpha, margin_px=1)) == pytest.approx(2 / 4)


def test_an_empty_image_has_none() -> None:
    assert float(painted_background(torch.ones(1, 3, 8, 8), torch.zeros(1, 1, 8, 8))) == 0.0
