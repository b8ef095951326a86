"""Image similarity: PSNR and SSIM, over the whole image and within a mask."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float
from skimage.metrics import structural_similarity

LEAST_SQUARE = 1e-10
"""Mean square at which PSNR is capped, at 100 dB: one perfect object must not make the mean infinite."""


def psnr(
    picture: Float[np.ndarray, "H W 3"], truth: Float[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"] | None = None
) -> float:
    """Peak signal-to-noise ratio in dB of RGB in [0, 1]: -10 log10(mean square), at most 100.

    Args:
        mask: pixels to use, at least one; all by default.
    """
    error = np.square(picture.astype(np.float64) - truth.astype(np.float64))
    mean = float(error.mean() if mask is None else error[mask].mean())
    return -10.0 * math.log10(max(mean, LEAST_SQUARE))


def ssim(
    picture: Float[np.ndarray, "H W 3"], truth: Float[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"] | None = None
) -> tuple[float, float | None]:
    """Structural similarity (Wang et al. 2004) as in scikit-image: RGB in [0, 1], default 7x7 window.

    Returns:
        SSIM of the whole image, and the mean of the similarity map within the mask (None without one).
    """
    whole, similarity = structural_similarity(
        picture.astype(np.float64), truth.astype(np.float64), channel_axis=-1, data_range=1.0, full=True
    )
    return float(whole), None if mask is None else float(similarity[mask].mean())
