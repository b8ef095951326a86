"""Images of one sample side by side: the input, the reconstruction from the input's camera, and other views."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from raylift.data.feed.resizing import composited

Strip = UInt8[np.ndarray, "H W C"]


def to_bytes(picture: np.ndarray) -> Strip:
    """Convert [0, 1] to 8 bits."""
    return (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def on_white(rgba: np.ndarray, image_px: int) -> np.ndarray:
    """Composite an image on white, [0, 1], resized."""
    return composited(rgba, image_px)[0].transpose(1, 2, 0)
