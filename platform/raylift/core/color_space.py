"""Displayed colours (sRGB) and linear light. glTF stores factors and vertex colours as linear light."""

from __future__ import annotations

import numpy as np


def srgb_to_linear(color: np.ndarray) -> np.ndarray:
    """Displayed values in [0, 1] to linear light (IEC 61966-2-1)."""
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(light: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] to displayed values: the inverse of ``srgb_to_linear``."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
