"""Equation 1 and the distance-transform loss, against loops and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from raylift.losses.silhouette import silhouette_distance_loss, silhouette_iou_loss


def test_equation_1_equals_a_loop() -> None:
    predicted, truth = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    loss = silhouette_iou_loss(predicted, truth)
    for b in range(3):
        both = either = 0.0
        for p, t in zip(predicted[b].flatten().tolist(), truth[b].flatten().tolist(), strict=True):
            both += p * t
            either += p + t - p * t
        assert float(loss[b]) == pytest.approx(1 - both / either, rel=1e-12)
    predicted.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: silhouette_iou_loss(p, truth), predicted)


def test_equation_1_at_its_ends() -> None:
    full, empty = torch.ones(1, 4, 4), torch.zeros(1, 4, 4, requires_grad=True)
    assert silhouette_iou_loss(full, full).item() == 0
    assert silhouette_iou_loss(empty, full).item() == 1
    loss = silhouette_iou_loss(empty, torch.zeros(1, 4, 4))
    loss.sum().backward()
    assert loss.item() == 0
    assert empty.grad is not None
    assert empty.grad.isfinite().all()


def test_the_distance_loss_pulls_on_what_does_not_overlap() -> None:
    truth = np.zeros((16, 16))
    truth[4:8, 4:8] = 1
    outside = torch.from_numpy(ndimage.distance_transform_edt(truth == 0) * 2 / 16)[None]
    mask = torch.from_numpy(truth)[None]
    assert silhouette_distance_loss(mask, outside).sum() == 0
    near, far = torch.zeros(2, 1, 16, 16, dtype=torch.float64)
    near[:, 9, 5], far[:, 14, 5] = 1.0, 1.0
    assert silhouette_distance_loss(near, outside).sum() == pytest.approx(2 * 2 / 16)
    assert silhouette_distance_loss(far, outside).sum() == pytest.approx(7 * 2 / 16)
