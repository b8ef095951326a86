"""Colour: rendered views of a reconstruction against stored views, by PSNR, SSIM and LPIPS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from raylift.core.errors import WeightsError
from raylift.core.types import Camera, Mesh
from raylift.data.feed.resizing import composited
from raylift.data.shapes.record import ViewRecord
from raylift.metrics.image import psnr, ssim
from raylift.metrics.protocols import MetricSpec
from raylift.metrics.scores import mean_of
from raylift.networks.perceptual import PerceptualDistance
from raylift.networks.pretrained import perceptual_weights
from raylift.rendering.lighting import Lighting
from raylift.rendering.render import render

COLOR_METRICS = {
    "psnr": MetricSpec(True),
    "psnr_masked": MetricSpec(True),
    "ssim": MetricSpec(True),
    "ssim_masked": MetricSpec(True),
    "lpips": MetricSpec(False),
}


@dataclass(frozen=True)
class MaskedImage:
    """An image as seen by a camera.

    Attributes:
        rgb: RGB in [0, 1], on white.
        coverage: coverage of the object, in [0, 1].
    """

    rgb: Float[np.ndarray, "H W 3"]
    coverage: Float[np.ndarray, "H W"]

    @staticmethod
    def of_pixels(picture: Float[np.ndarray, "3 H W"], coverage: Float[np.ndarray, "1 H W"]) -> MaskedImage:
        """From an image on white, as returned by ``data.feed.batches.on_white``."""
        return MaskedImage(np.ascontiguousarray(picture.transpose(1, 2, 0)), coverage[0])


def render_masked(mesh: Mesh, cameras: Camera, image_px: int) -> list[MaskedImage]:
    """Render a reconstruction for each camera.

    With 2x2 samples per pixel and ambient light only, because a reconstruction has learned colours with their shading.
    """
    renderings = render(mesh, cameras, image_px, Lighting.ambient(), supersample=2)
    return [MaskedImage(rendering.rgb, rendering.alpha) for rendering in renderings]


def color_scores(
    images: Sequence[MaskedImage], truths: Sequence[MaskedImage], lpips: PerceptualDistance | None
) -> dict[str, float]:
    """Mean ``COLOR_METRICS`` over image pairs; those within the true silhouette are ``_masked``.

    Args:
        lpips: None leaves LPIPS out.
    """
    values: dict[str, list[float]] = {name: [] for name in COLOR_METRICS}
    for image, truth in zip(images, truths, strict=True):
        mask = truth.coverage > 0.5
        whole, masked = ssim(image.rgb, truth.rgb, mask)
        values["psnr"].append(psnr(image.rgb, truth.rgb))
        values["ssim"].append(whole)
        if mask.any() and masked is not None:
            values["psnr_masked"].append(psnr(image.rgb, truth.rgb, mask))
            values["ssim_masked"].append(masked)
    if lpips is not None:
        first, second = (
            torch.from_numpy(np.stack([image.rgb for image in some])).permute(0, 3, 1, 2).float()
            for some in (images, truths)
        )
        with torch.no_grad():
            values["lpips"] += lpips(first, second).tolist()
    return {name: mean_of(found) for name, found in values.items() if found}


class ColorScorer:
    """The protocol ``color``, defined here since papers differ.

    The stored views, on white, averaged down to ``image_px``, are compared with the reconstruction rendered for the
    same cameras. PSNR and SSIM of the whole image and within the true silhouette (``_masked``); LPIPS 0.1 with AlexNet.
    An object's score is the mean over its views.

    Args:
        image_px: image side in pixels; LPIPS needs 32.
        lpips: None leaves LPIPS out.
    """

    def __init__(self, image_px: int, lpips: PerceptualDistance | None) -> None:
        self.image_px, self.lpips = image_px, lpips

    def score(self, mesh: Mesh, views: Sequence[ViewRecord]) -> dict[str, float]:
        """Mean scores over the views."""
        if not views:
            return {}
        images = render_masked(mesh, Camera.stack([view.camera for view in views]), self.image_px)
        return color_scores(images, [self.truth_of(view) for view in views], self.lpips)

    def truth_of(self, view: ViewRecord) -> MaskedImage:
        """A stored view, resized to ``image_px``."""
        return MaskedImage.of_pixels(*composited(view.rgba, self.image_px))


def open_lpips() -> tuple[PerceptualDistance | None, str]:
    """LPIPS with AlexNet, or None and a note on why it is left out."""
    try:
        return PerceptualDistance("alexnet", perceptual_weights("alexnet")), ""
    except WeightsError as error:
        return None, f"LPIPS is left out: {error.problem}; {error.remedy}"
