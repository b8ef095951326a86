"""Colour: rendered views of a reconstruction against the truth's pictures, by PSNR, SSIM and LPIPS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float

from raylift.core.errors import WeightsError
from raylift.core.types import Camera, Mesh
from raylift.data.dataset import ViewRecord
from raylift.data.samples import composited
from raylift.metrics.image import psnr, ssim
from raylift.metrics.protocols import Metric
from raylift.metrics.scores import mean_of
from raylift.networks.perceptual import PerceptualDistance
from raylift.networks.pretrained import perceptual_weights
from raylift.rendering.lighting import Lighting
from raylift.rendering.render import render

COLOR_METRICS = {
    "psnr": Metric(True),
    "psnr_masked": Metric(True),
    "ssim": Metric(True),
    "ssim_masked": Metric(True),
    "lpips": Metric(False),
}


class ColorScorer:
    """The protocol ``color``, stated here since papers differ.

    The truth's stored views, on white, averaged down to ``image_px``; the reconstruction seen by the same cameras, with
    2x2 samples a pixel and no light added, because a reconstruction has learned colours as pictures show them, shading
    included. PSNR and SSIM of the whole picture and within the truth's silhouette (``_masked``); LPIPS 0.1 with
    AlexNet. An object's score is the mean over its views.

    Args:
        image_px: side of the pictures; LPIPS needs 32.
        lpips: None leaves LPIPS out.
    """

    def __init__(self, image_px: int, lpips: PerceptualDistance | None) -> None:
        self.image_px, self.lpips = image_px, lpips

    def score(self, mesh: Mesh, views: Sequence[ViewRecord]) -> dict[str, float]:
        """Mean scores over the views."""
        if not views:
            return {}
        truths = [composited(view.rgba, self.image_px) for view in views]
        renderings = render(
            mesh, Camera.stack([view.camera for view in views]), self.image_px, Lighting.ambient(), supersample=2
        )
        values: dict[str, list[float]] = {name: [] for name in COLOR_METRICS}
        for (picture, coverage), rendering in zip(truths, renderings, strict=True):
            truth, mask = picture.transpose(1, 2, 0), coverage[0] > 0.5
            whole, masked = ssim(rendering.rgb, truth, mask)
            values["psnr"].append(psnr(rendering.rgb, truth))
            values["ssim"].append(whole)
            if mask.any() and masked is not None:
                values["psnr_masked"].append(psnr(rendering.rgb, truth, mask))
                values["ssim_masked"].append(masked)
        if self.lpips is not None:
            values["lpips"] += self._lpips([rendering.rgb for rendering in renderings], [truth for truth, _ in truths])
        return {name: mean_of(found) for name, found in values.items() if found}

    def _lpips(
        self, pictures: Sequence[Float[np.ndarray, "H W 3"]], truths: Sequence[Float[np.ndarray, "3 H W"]]
    ) -> list[float]:
        assert self.lpips is not None
        ours = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()
        with torch.no_grad():
            distances: list[float] = self.lpips(ours, torch.from_numpy(np.stack(truths)).float()).tolist()
        return distances


def open_lpips(download: bool | None = None) -> tuple[PerceptualDistance | None, str]:
    """LPIPS with AlexNet, or None and why not: colour is then reported without it, and says so."""
    try:
        return PerceptualDistance("alexnet", perceptual_weights("alexnet", download)), ""
    except WeightsError as error:
        return None, f"LPIPS is left out: {error.problem}; {error.remedy}"
