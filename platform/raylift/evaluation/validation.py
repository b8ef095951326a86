"""The quick scores that training watches: IoU of shapes at stored points, silhouettes and SSIM of images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from raylift.core.model import ReconstructionModel
from raylift.core.types import Batch, Field, Mesh, Reconstruction, SampleRequest
from raylift.evaluation.color import Look, looks_of
from raylift.evaluation.meshes import mesh_of
from raylift.evaluation.samples import over_samples
from raylift.metrics.image import ssim
from raylift.metrics.inside import InsideTest
from raylift.metrics.iou import batch_iou
from raylift.metrics.scores import mean_of, median_of
from raylift.metrics.silhouette import mask_soft

CHUNK = 65_536
"""Points that a field is asked at once: bounds memory."""
QUICK_RESOLUTION = 64
"""Samples an edge at which fields are extracted to be looked at."""


class Validation(ABC):
    """What training watches of one data set.

    Attributes:
        request: what validation samples carry.
    """

    request: SampleRequest

    @abstractmethod
    def scores(self, model: ReconstructionModel, batches: Iterable[Batch], prefix: str = "val") -> dict[str, float]:
        """The quick scores; every rank calls it with its share and gets those of all.

        ``alarm/...`` among them is 1 where something must be looked at, else 0: see ``evaluation.alarms``.
        """


@torch.no_grad()
def inside_of(shape: Mesh | Field, points: Float[Tensor, "N 3"]) -> Bool[Tensor, "N"]:
    """Which points lie inside a reconstructed shape; a field is negative inside."""
    if isinstance(shape, Field):
        chunks = [shape.values_at(chunk) < 0 for chunk in torch.split(points.to(shape.device), CHUNK)]
        return torch.cat(chunks).to(points.device)
    if shape.is_empty:
        return torch.zeros(len(points), dtype=torch.bool, device=points.device)
    test = InsideTest(shape.vertices.detach().cpu().numpy(), shape.faces.detach().cpu().numpy())
    return torch.from_numpy(test.contains(points.detach().cpu().numpy())).to(points.device)


def thickness(points: Float[np.ndarray, "N 3"]) -> float:
    """The smallest of a shape's three standard deviations along its own axes over the largest, from points of it.

    0 is a plane, a line, or nothing at all; 1 a ball. A model that has not found the third dimension stays near 0.
    """
    if len(points) < 4:
        return 0.0
    variances = np.linalg.eigvalsh(np.cov(points, rowvar=False))
    return float(np.sqrt(max(0.0, variances[0]) / variances[-1])) if variances[-1] > 0 else 0.0


@torch.no_grad()
def validate_shapes(model: ReconstructionModel, batches: Iterable[Batch], prefix: str = "val") -> dict[str, float]:
    """Mean and median IoU over all ranks' samples, at the stored ``iou_points``.

    Every rank calls it with its own share (which may be empty); all get the same numbers, whatever the split: scores
    are gathered by sample id, so a sample that two ranks were given counts once.

    Args:
        model: put into eval mode, and back.
        batches: carry ``iou_points`` and ``iou_inside``.
        prefix: of the names: ``val/iou`` and ``val/thickness``, each with ``_median``, and ``val/iou_samples``.

    Raises:
        DataError: a batch lacks those fields.
    """

    def score(batch: Batch, found: list[Reconstruction]) -> list[dict[str, float]]:
        points, truth = batch["iou_points"], batch["iou_inside"] > 0.5
        inside = torch.stack([inside_of(one.shape, own) for one, own in zip(found, points, strict=True)])
        within = [thickness(own[which].cpu().numpy()) for own, which in zip(points, inside, strict=True)]
        ious = batch_iou(inside, truth).tolist()
        return [{"iou": iou, "thickness": thick} for iou, thick in zip(ious, within, strict=True)]

    return summarise(sample_scores(model, batches, score), prefix, ("iou", "thickness"))


def picture_score(
    found: Reconstruction, image: Float[np.ndarray, "3 H W"], mask: Float[np.ndarray, "1 H W"]
) -> dict[str, float]:
    """``mask_iou``, ``ssim`` and ``thickness`` of a reconstruction against the picture that it was made of."""
    truth = Look.of_pixels(image, mask)
    mesh = mesh_of(found, QUICK_RESOLUTION)
    look = looks_of(mesh, found.camera.to("cpu"), truth.rgb.shape[0])[0]
    return {
        "mask_iou": mask_soft(look.coverage, truth.coverage),
        "ssim": ssim(look.rgb, truth.rgb)[0],
        "thickness": thickness(mesh.vertices.detach().cpu().numpy()),
    }


def sample_scores(
    model: ReconstructionModel,
    batches: Iterable[Batch],
    score: Callable[[Batch, list[Reconstruction]], list[dict[str, float]]],
) -> dict[str, dict[str, float]]:
    """What ``score`` gives for each sample of a batch, over all ranks' samples, by sample.

    Args:
        model: put into eval mode, and back.
    """
    return over_samples(model, batches, lambda batch: score(batch, model.reconstruct(batch)))


def summarise(everyone: Mapping[str, Mapping[str, float]], prefix: str, names: Sequence[str]) -> dict[str, float]:
    """Mean and median of each score over the samples that have it, and how many have the first."""
    summary: dict[str, float] = {}
    for name in names:
        values = [everyone[sample][name] for sample in sorted(everyone) if name in everyone[sample]]
        summary |= {f"{prefix}/{name}": mean_of(values), f"{prefix}/{name}_median": median_of(values)}
    return summary | {f"{prefix}/{names[0]}_samples": float(len(everyone))}
