"""Renderings as images with alpha, as photographs with a mask are stored."""

from __future__ import annotations

import numpy as np

from raylift.rendering.render import Rendering


def rgba8(seen: Rendering) -> np.ndarray:
    """uint8 [H, W, 4] with straight (not premultiplied) alpha, as PNG stores it; transparent pixels are black."""
    alpha = seen.alpha[:, :, None]
    premultiplied = seen.rgb - (1.0 - alpha) * np.array(seen.background, np.float32)
    straight = np.divide(premultiplied, alpha, out=np.zeros_like(premultiplied), where=alpha > 0)
    return (np.concatenate([straight, alpha], axis=2).clip(0, 1) * 255 + 0.5).astype(np.uint8)
