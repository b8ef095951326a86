"""Backgrounds of scenes: a photograph's crop if there are photographs; else drawn ones, or an enlarged detail."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from raylift.core.generators import stable_hash
from raylift.data.scenes.pictures import Pictures
from raylift.rendering.backgrounds import draw_backgrounds

DETAIL = (0.3, 0.7)
"""Range of the side of a detail, as a fraction of its picture's shorter edge."""
PHOTOGRAPH = (0.6, 1.0)
"""The same for photographs."""


def drawn_backdrop(px: int, key: str, seed: int, details_of: Pictures | None, rejected: list[str]) -> np.ndarray:
    """A background without photographs: noise, a checkerboard or waves, half the time under a picture's detail.

    Args:
        px: side of the image.
        key: name of the image: the draws are a function of (seed, key).
        details_of: pictures to take details of; None takes none.
        rejected: takes the reasons why pictures could not be used.

    Returns:
        RGB [P, P, 3] in [0, 1].
    """
    plain = draw_backgrounds(torch.tensor([stable_hash(key, "backdrop")]), seed, 0, px)[0].permute(1, 2, 0).numpy()
    rng = np.random.Generator(np.random.Philox(key=stable_hash(seed, key, "detail")))
    if details_of is None or rng.random() < 0.5:
        return plain
    detail = cropped(details_of.draw(rng, rejected), px, DETAIL, rng)
    coverage = detail[..., 3:]
    return plain * (1 - coverage) + detail[..., :3] * coverage


def photographed_backdrop(px: int, pictures: Pictures, rng: np.random.Generator, rejected: list[str]) -> np.ndarray:
    """A square crop of a photograph, half the time mirrored: RGB [P, P, 3] in [0, 1]."""
    return cropped(pictures.draw(rng, rejected), px, PHOTOGRAPH, rng)[..., :3]


def cropped(rgba: np.ndarray, px: int, sides: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """A drawn square of an image, float32 [P, P, 4] in [0, 1], not premultiplied."""
    height, width = rgba.shape[:2]
    side = rng.uniform(*sides) * min(height, width)
    left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
    picture = Image.fromarray(np.ascontiguousarray(rgba))
    resized = picture.resize((px, px), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    values = np.asarray(resized, np.float32) / np.float32(255)
    return values[:, ::-1] if rng.random() < 0.5 else values
