"""Pictures of one sample side by side: the input, the reconstruction as the input sees it, and other views."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from raylift.data.feed.samples import composited

Strip = UInt8[np.ndarray, "H W C"]


def to_bytes(picture: np.ndarray) -> Strip:
    """From [0, 1] to 8 bits."""
    return (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def on_white(rgba: np.ndarray, image_px: int) -> np.ndarray:
    """The picture over white, [0, 1], resized."""
    return composited(rgba, image_px)[0].transpose(1, 2, 0)
