"""The quick score that training watches: IoU of fields at stored points, without extracting a mesh."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from raylift.core import collectives
from raylift.core.family import Family
from raylift.core.types import Batch, Field, Mesh
from raylift.metrics.inside import InsideTest
from raylift.metrics.iou import batch_iou
from raylift.metrics.scores import mean_of, median_of

CHUNK = 65_536
"""Points that a field is asked at once: bounds memory."""


@torch.no_grad()
def inside_of(shape: Mesh | Field, points: Float[Tensor, "N 3"]) -> Bool[Tensor, "N"]:
    """Which points lie inside a reconstructed shape; a field is negative inside."""
    if isinstance(shape, Field):
        chunks = [shape.query(chunk)[0] < 0 for chunk in torch.split(points.to(shape.device), CHUNK)]
        return torch.cat(chunks).to(points.device)
    if shape.is_empty:
        return torch.zeros(len(points), dtype=torch.bool, device=points.device)
    test = InsideTest(shape.vertices.detach().cpu().numpy(), shape.faces.detach().cpu().numpy())
    return torch.from_numpy(test.contains(points.detach().cpu().numpy())).to(points.device)


@torch.no_grad()
def quick_iou(family: Family, batches: Iterable[Batch], prefix: str = "val") -> dict[str, float]:
    """Mean and median IoU over all ranks' samples, at the stored ``iou_points``.

    Every rank calls it with its own share (which may be empty); all get the same numbers, whatever the split: scores
    are gathered by sample id, so a sample that two ranks were given counts once.

    Args:
        family: put into eval mode, and back.
        batches: carry ``iou_points`` and ``iou_inside``.
        prefix: of the names: ``val/iou``, ``val/iou_median``, ``val/iou_samples``.

    Raises:
        DataError: a batch lacks those fields.
    """
    device = next(family.parameters()).device
    was_training = family.training
    family.eval()
    scores: dict[str, float] = {}
    try:
        for batch in batches:
            on_device = batch.to(device)
            points, truth = on_device["iou_points"], on_device["iou_inside"] > 0.5
            shapes = [reconstruction.shape for reconstruction in family.reconstruct(on_device)]
            inside = torch.stack([inside_of(shape, own) for shape, own in zip(shapes, points, strict=True)])
            scores.update(zip(batch.ids, batch_iou(inside, truth).tolist(), strict=True))
    finally:
        family.train(was_training)
    everyone = {name: value for share in collectives.gather_objects(scores) for name, value in share.items()}
    values = [everyone[name] for name in sorted(everyone)]
    return {
        f"{prefix}/iou": mean_of(values),
        f"{prefix}/iou_median": median_of(values),
        f"{prefix}/iou_samples": float(len(values)),
    }
