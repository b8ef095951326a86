"""Quick validation during training: IoU of shapes at stored points, silhouette IoU and SSIM of images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from raylift.core.model import ReconstructionModel
from raylift.core.types import Batch, Field, Mesh, Reconstruction, SampleRequest
from raylift.evaluation.alarms import model_alarms
from raylift.evaluation.color import MaskedImage, render_masked
from raylift.evaluation.meshes import mesh_of
from raylift.evaluation.samples import over_samples
from raylift.metrics.image import ssim
from raylift.metrics.inside import InsideTest
from raylift.metrics.iou import batch_iou
from raylift.metrics.scores import mean_of, median_of
from raylift.metrics.silhouette import mask_soft

CHUNK = 65_536
"""Points per field query: bounds memory."""
QUICK_RESOLUTION = 64
"""Samples per edge for extracting fields in quick validation."""


class Validation(ABC):
    """Quick validation on one data set.

    Attributes:
        request: request of the validation samples.
    """

    request: SampleRequest

    @abstractmethod
    def scores(self, model: ReconstructionModel, batches: Iterable[Batch], prefix: str = "val") -> dict[str, float]:
        """The quick scores; every rank calls it with its own share and returns the scores of all.

        Metrics ``alarm/...`` are 1 if something needs attention, else 0: see ``evaluation.alarms``.
        """


@torch.no_grad()
def inside_of(shape: Mesh | Field, points: Float[Tensor, "N 3"]) -> Bool[Tensor, "N"]:
    """Which points are inside a reconstructed shape; a field is negative inside."""
    if isinstance(shape, Field):
        chunks = [shape.values_at(chunk) < 0 for chunk in torch.split(points.to(shape.device), CHUNK)]
        return torch.cat(chunks).to(points.device)
    if shape.is_empty:
        return torch.zeros(len(points), dtype=torch.bool, device=points.device)
    test = InsideTest(shape.vertices.detach().cpu().numpy(), shape.faces.detach().cpu().numpy())
    return torch.from_numpy(test.contains(points.detach().cpu().numpy())).to(points.device)


def thickness(points: Float[np.ndarray, "N 3"]) -> float:
    """Ratio of the smallest to the largest of a shape's standard deviations along its principal axes, from its points.

    0 is a plane, a line, or empty; 1 is a ball. A model that has not learned the third dimension stays near 0.
    """
    if len(points) < 4:
        return 0.0
    variances = np.linalg.eigvalsh(np.cov(points, rowvar=False))
    return float(np.sqrt(max(0.0, variances[0]) / variances[-1])) if variances[-1] > 0 else 0.0


@torch.no_grad()
def validate_shapes(model: ReconstructionModel, batches: Iterable[Batch], prefix: str = "val") -> dict[str, float]:
    """Mean and median IoU over all ranks' samples, at the stored ``iou_points``.

    Every rank calls it with its own share (which may be empty); all return the same numbers, however the samples are
    shared: scores are gathered by sample id, so a sample given to two ranks counts once.

    Args:
        model: model to evaluate; its training mode is restored afterwards.
        batches: batches with ``iou_points`` and ``iou_inside``.
        prefix: prefix of the names ``val/iou`` and ``val/thickness``, each with ``_median``, and ``val/iou_samples``.

    Raises:
        DataError: a batch lacks those fields.
    """

    def score(batch: Batch, found: list[Reconstruction]) -> list[dict[str, float]]:
        points, truth = batch["iou_points"], batch["iou_inside"] > 0.5
        inside = torch.stack([inside_of(one.shape, own) for one, own in zip(found, points, strict=True)])
        within = [thickness(own[which].cpu().numpy()) for own, which in zip(points, inside, strict=True)]
        ious = batch_iou(inside, truth).tolist()
        return [{"iou": iou, "thickness": thick} for iou, thick in zip(ious, within, strict=True)]

    everyone = sample_scores(model, batches, score)
    found = summarise(everyone, prefix, ("iou", "thickness"))
    return found | model_statistics(everyone, found, prefix)


def picture_score(
    found: Reconstruction, image: Float[np.ndarray, "3 H W"], mask: Float[np.ndarray, "1 H W"]
) -> dict[str, float]:
    """``mask_iou``, ``ssim`` and ``thickness`` of a reconstruction against its input image."""
    truth = MaskedImage.of_pixels(image, mask)
    mesh = mesh_of(found, QUICK_RESOLUTION)
    rendered = render_masked(mesh, found.camera.to("cpu"), truth.rgb.shape[0])[0]
    return {
        "mask_iou": mask_soft(rendered.coverage, truth.coverage),
        "ssim": ssim(rendered.rgb, truth.rgb)[0],
        "thickness": thickness(mesh.vertices.detach().cpu().numpy()),
    }


def sample_scores(
    model: ReconstructionModel,
    batches: Iterable[Batch],
    score: Callable[[Batch, list[Reconstruction]], list[dict[str, float]]],
) -> dict[str, dict[str, float]]:
    """The rows that ``score`` returns per sample of a batch, and the model's own scores, over all ranks' samples.

    Args:
        model: model to evaluate; its training mode is restored afterwards.
    """

    def rows(batch: Batch) -> list[dict[str, float]]:
        own = {name: values.tolist() for name, values in model.scores(batch).items()}
        found = score(batch, model.reconstruct(batch))
        return [{**{name: values[i] for name, values in own.items()}, **row} for i, row in enumerate(found)]

    return over_samples(model, batches, rows)


def model_statistics(
    everyone: Mapping[str, Mapping[str, float]], known: Mapping[str, float], prefix: str
) -> dict[str, float]:
    """Means of what ``Model.scores`` reports beyond the metrics already in ``known``, and the alarms about them."""
    names = dict.fromkeys(name for sample in sorted(everyone) for name in everyone[sample])
    means = {
        name: mean_of([row[name] for row in everyone.values() if name in row])
        for name in names
        if f"{prefix}/{name}" not in known
    }
    return {f"{prefix}/{name}": value for name, value in means.items()} | model_alarms(means)


def summarise(everyone: Mapping[str, Mapping[str, float]], prefix: str, names: Sequence[str]) -> dict[str, float]:
    """Mean and median of each score over the samples that have it, and the number of samples."""
    summary: dict[str, float] = {}
    for name in names:
        values = [everyone[sample][name] for sample in sorted(everyone) if name in everyone[sample]]
        summary |= {f"{prefix}/{name}": mean_of(values), f"{prefix}/{name}_median": median_of(values)}
    return summary | {f"{prefix}/{names[0]}_samples": float(len(everyone))}
