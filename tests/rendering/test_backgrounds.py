"""Random backgrounds: keyed by sample, of three kinds, in range; and compositing, with its gradients."""

from __future__ import annotations

import pytest
import torch

from raylift.core.errors import ConfigError
from raylift.rendering.backgrounds import (
    RANDOM,
    BackgroundKind,
    blurred,
    composite,
    draw_backgrounds,
    premultiplied_from_white,
)

KEYS = torch.tensor([5, 1 << 60, 77, 12345])


def test_a_background_belongs_to_its_sample() -> None:
    whole = draw_backgrounds(KEYS, 3, 10, 24)
    assert whole.shape == (4, 3, 24, 24)
    torch.testing.assert_close(draw_backgrounds(KEYS[2:], 3, 10, 24), whole[2:])
    for seed, step, purpose in ((4, 10, "background"), (3, 11, "background"), (3, 10, "other")):
        assert not torch.equal(draw_backgrounds(KEYS, seed, step, 24, purpose=purpose), whole)


@pytest.mark.parametrize("px", [16, 25])
@pytest.mark.parametrize("kind", RANDOM)
def test_every_kind_varies_and_stays_in_range(kind: BackgroundKind, px: int) -> None:
    found = draw_backgrounds(torch.arange(20), 0, 0, px, (kind,))
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.std(dim=(1, 2, 3)).mean() > 0.05
    assert found.flatten(1).std(dim=0).mean() > 0.05


def colors_of(image: torch.Tensor) -> int:
    return len(image.mul(255).round().flatten(1).T.unique(dim=0))


def test_each_kind_has_its_third(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raylift.rendering.backgrounds.MOST_BLUR", 0.0)
    found = draw_backgrounds(torch.arange(300), 0, 0, 16)
    two = [colors_of(image) == 2 for image in found]
    rough = [float((image[:, 1:] - image[:, :-1]).abs().mean()) > 0.25 for image in found]
    assert 75 < sum(two) < 125
    assert 75 < sum(one and not other for one, other in zip(rough, two, strict=True)) < 125


def test_white_is_the_background_of_stored_images() -> None:
    assert (draw_backgrounds(KEYS, 0, 0, 8, ("white",)) == 1).all()
    with pytest.raises(ConfigError, match="checkerboard"):
        draw_backgrounds(KEYS, 0, 0, 8, ())
    with pytest.raises(ConfigError, match="checkerboard"):
        draw_backgrounds(KEYS, 0, 0, 8, ("photo",))  # type: ignore[arg-type]


def test_a_blur_keeps_the_mean_and_takes_the_detail() -> None:
    image = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = blurred(image, torch.tensor([0.0, 1.0, 4.0]))
    torch.testing.assert_close(found[0], image[0])
    torch.testing.assert_close(found.mean(dim=(2, 3)), image.mean(dim=(2, 3)))
    detail = found.std(dim=(1, 2, 3))
    assert detail[0] > 2 * detail[1] > 4 * detail[2]
    point = torch.zeros(1, 3, 33, 33)
    point[..., 16, 16] = 1
    row = blurred(point, torch.tensor([2.0]))[0, 0, 16]
    assert float(row[18] / row[16]) == pytest.approx(torch.exp(torch.tensor(-0.5)).item(), rel=1e-3)


def test_compositing_undoes_white_and_passes_gradients_to_colour_and_coverage() -> None:
    color, mask = torch.rand(2, 3, 5, 5), torch.rand(2, 1, 5, 5)
    stored = composite(color * mask, mask, torch.ones(2, 3, 5, 5))
    premultiplied = premultiplied_from_white(stored, mask)
    torch.testing.assert_close(premultiplied, color * mask, atol=1e-6, rtol=0)
    premultiplied.requires_grad_()
    mask.requires_grad_()
    background = draw_backgrounds(torch.arange(2), 0, 0, 5)
    composite(premultiplied, mask, background).sum().backward()
    torch.testing.assert_close(premultiplied.grad, torch.ones(2, 3, 5, 5))
    torch.testing.assert_close(mask.grad, -background.sum(dim=1, keepdim=True))
