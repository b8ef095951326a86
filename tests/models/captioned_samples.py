"""Captioned images in closed form: discs whose colour and size are what their captions say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from raylift.core.captions import encode_caption
from raylift.core.generators import stable_hash
from raylift.core.types import Batch

COLORS = {"red": (0.9, 0.1, 0.1), "зелёный": (0.1, 0.8, 0.1), "blue": (0.1, 0.2, 0.9), "黒": (0.05, 0.05, 0.05)}
SIZES = {"small": 0.35, "large": 0.8}


def discs(px: int, numbers: Sequence[int], silent: Sequence[int] = ()) -> Batch:
    """Disc n has colour n % 4, size n // 4 % 2, and a place of its own; those in ``silent`` have no caption."""
    axis = (2 * torch.arange(px) + 1) / px - 1
    images, masks, captions = [], [], []
    for number in numbers:
        color, size = list(COLORS)[number % 4], list(SIZES)[number // 4 % 2]
        shift = 0.04 * torch.tensor([number % 3 - 1.0, number % 5 - 2.0])
        inside = torch.hypot(axis[:, None] - shift[0], axis[None] - shift[1]) < SIZES[size]
        images.append(torch.where(inside, torch.tensor(COLORS[color])[:, None, None], torch.ones(3, 1, 1)))
        masks.append(inside[None].float())
        captions.append(encode_caption("" if number in silent else f"a {size} {color} disc"))
    ids = tuple(f"disc-{number}#0" for number in numbers)
    keys = torch.tensor([stable_hash(name) for name in ids])
    fields = {
        "image": torch.stack(images),
        "mask": torch.stack(masks),
        "caption": torch.from_numpy(np.stack(captions)),
    }
    return Batch(ids, keys, fields)
