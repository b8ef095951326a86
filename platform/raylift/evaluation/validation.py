"""The quick score that training watches: IoU of volumes at stored points, or of silhouettes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from raylift.core import collectives
from raylift.core.errors import DataError
from raylift.core.family import Family
from raylift.core.types import Batch, Field, Mesh, Reconstruction
from raylift.metrics.inside import InsideTest
from raylift.metrics.iou import batch_iou
from raylift.metrics.scores import mean_of, median_of
from raylift.metrics.silhouette import mask_hard
from raylift.rendering.rasterize import rasterize

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

    def score(batch: Batch, found: list[Reconstruction]) -> list[float]:
        points, truth = batch["iou_points"], batch["iou_inside"] > 0.5
        inside = torch.stack([inside_of(one.shape, own) for one, own in zip(found, points, strict=True)])
        return batch_iou(inside, truth).tolist()

    return _gathered(_scores(family, batches, score), f"{prefix}/iou")


@torch.no_grad()
def quick_mask_iou(family: Family, batches: Iterable[Batch], prefix: str = "val") -> dict[str, float]:
    """Mean and median ``mask_hard`` over all ranks' samples: each mesh by its own camera against the input's mask.

    Ranks share the work as in ``quick_iou``.

    Returns:
        ``val/mask_iou``, ``val/mask_iou_median``, ``val/mask_iou_samples``.
    """

    def score(batch: Batch, found: list[Reconstruction]) -> list[float]:
        masks = batch["mask"][:, 0].cpu().numpy()
        return [mask_hard(silhouette_of(one, mask.shape[0]), mask) for one, mask in zip(found, masks, strict=True)]

    return _gathered(_scores(family, batches, score), f"{prefix}/mask_iou")


def silhouette_of(reconstruction: Reconstruction, image_px: int) -> Float[np.ndarray, "H W"]:
    """1 at the pixels whose centres a reconstructed mesh covers, by its own camera.

    Raises:
        DataError: the shape is a field: extract its mesh first.
    """
    shape = reconstruction.shape
    if isinstance(shape, Field):
        raise DataError("a field has no silhouette of its own", "extract its mesh first")
    seen = rasterize(shape.vertices.cpu(), shape.faces.cpu(), reconstruction.camera.to("cpu"), image_px)
    return (seen.pix_to_face[0, ..., 0] >= 0).float().numpy()


def _scores(
    family: Family, batches: Iterable[Batch], score: Callable[[Batch, list[Reconstruction]], list[float]]
) -> dict[str, float]:
    """This rank's scores by sample."""
    device = next(family.parameters()).device
    was_training = family.training
    family.eval()
    scores: dict[str, float] = {}
    try:
        for batch in batches:
            on_device = batch.to(device)
            found = family.reconstruct(on_device)
            scores.update(zip(batch.ids, score(on_device, found), strict=True))
    finally:
        family.train(was_training)
    return scores


def _gathered(scores: dict[str, float], name: str) -> dict[str, float]:
    everyone = {name: value for share in collectives.gather_objects(scores) for name, value in share.items()}
    values = [everyone[name] for name in sorted(everyone)]
    return {
        name: mean_of(values),
        f"{name}_median": median_of(values),
        f"{name}_samples": float(len(values)),
    }
