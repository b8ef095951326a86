"""Image-text losses: closed forms, batches with missing and equal captions, and painted backgrounds."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from raylift.losses.image_text import background_gain, contrastive_loss, cosine_loss
from raylift.rendering.backgrounds import draw_backgrounds


def directions(count: int, seed: int, size: int = 6) -> Tensor:
    return normalize(
        torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1
    )


def test_minimising_the_cosine_loss_turns_an_image_to_its_caption() -> None:
    """The paper's equation 11, read as a loss, has the other sign."""
    image, text = directions(3, 0), directions(3, 1)
    torch.testing.assert_close(cosine_loss(text, text), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(cosine_loss(text, -text), torch.full((3,), 2.0, dtype=torch.float64))
    free = image.clone().requires_grad_()
    (step,) = torch.autograd.grad(cosine_loss(normalize(free, dim=1), text).sum(), free)
    closer = normalize(image - 0.1 * step, dim=1)
    assert ((closer * text).sum(1) > (image * text).sum(1)).all()


def slow_contrastive(image: Tensor, text: Tensor, names: list[str], scale: float) -> Tensor:
    """The definition, sample by sample; an empty name is a missing caption."""
    kept = [index for index, name in enumerate(names) if name]
    values = []
    for index, name in enumerate(names):
        if not name:
            values.append(torch.zeros((), dtype=image.dtype))
            continue
        same = [other for other in kept if names[other] == name]
        halves = []
        for own, others in ((image[index], text), (text[index], image)):
            logs = (scale * others[kept] @ own).log_softmax(0)
            halves.append(-torch.stack([logs[kept.index(other)] for other in same]).mean())
        values.append(sum(halves) / 2)
    return torch.stack(values)


@pytest.mark.parametrize("names", [["a", "b", "c", "d"], ["a", "", "a", "b"], ["", "a", "", ""], ["", "", "", ""]])
def test_contrastive_is_its_definition(names: list[str]) -> None:
    image, text = directions(4, 2).requires_grad_(), directions(4, 3).requires_grad_()
    keys = torch.tensor([hash(name) for name in names])
    known = torch.tensor([bool(name) for name in names])
    found = contrastive_loss(image, text, keys, known, 5.0)
    torch.testing.assert_close(found, slow_contrastive(image, text, names, 5.0))
    ours = torch.autograd.grad(found.sum(), [image, text])
    assert all(part.isfinite().all() for part in ours)
    assert (ours[0][~known] == 0).all()
    if known.sum() > 1:
        theirs = torch.autograd.grad(slow_contrastive(image, text, names, 5.0).sum(), [image, text])
        torch.testing.assert_close(ours, theirs)


def test_features_that_tell_nothing_cost_the_logarithm_of_the_batch() -> None:
    same = directions(1, 4).expand(7, -1)
    values = contrastive_loss(same, same, torch.arange(7), torch.ones(7, dtype=torch.bool), 100.0)
    torch.testing.assert_close(values, torch.full((7,), math.log(7), dtype=torch.float64))
    right = torch.eye(7, dtype=torch.float64)
    assert contrastive_loss(right, right, torch.arange(7), torch.ones(7, dtype=torch.bool), 100.0).max() < 1e-9


def test_a_shared_score_cancels_in_the_contrastive_form() -> None:
    """All images move to the mean caption: the cosine is better, the contrastive form does not notice."""
    text = normalize(directions(4, 5) + 2 * torch.eye(6, dtype=torch.float64)[0], dim=1)
    everywhere = normalize(text.mean(0, keepdim=True), dim=1).expand(4, -1)
    away = -everywhere
    keys, known = torch.arange(4), torch.ones(4, dtype=torch.bool)
    assert cosine_loss(everywhere, text).mean() < cosine_loss(away, text).mean() - 1
    lowest = contrastive_loss(text, text, keys, known, 10.0).mean()
    assert contrastive_loss(everywhere, text, keys, known, 10.0).mean() > lowest + 0.1


def redness(image: Tensor) -> Tensor:
    return (image[:, 0] - image[:, 1:].mean(1)).mean(dim=(1, 2))


def test_the_gain_of_a_painted_background_shows() -> None:
    inside = torch.zeros(2, 1, 16, 16)
    inside[:, :, 4:12, 4:12] = 1
    color = torch.tensor([0.8, 0.2, 0.2]).view(1, 3, 1, 1)
    backgrounds = [draw_backgrounds(torch.arange(2), 0, step, 16) for step in range(3)]
    clean = background_gain(redness, color * inside, inside.clone(), inside, backgrounds)
    torch.testing.assert_close(clean, torch.zeros(2))
    haze = inside + 0.5 * (1 - inside)
    assert (background_gain(redness, color * haze, haze, inside, backgrounds) > 0.05).all()
