"""Noise on a discriminator's input, drawn per sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.device_copies import numbers_of, upload
from raylift.core.generators import numpy_generator


def keyed_noise(
    shape: Sequence[int], keys: Int[Tensor, "B"], seed: int, step: int, purpose: str
) -> Float[Tensor, "B *S"]:
    """Standard normals for (seed, step, sample, purpose): the same whichever rank holds the sample.

    Args:
        shape: of one sample's noise, such as (3, 64, 64).
        keys: keys of the samples (``Batch.keys``).
        purpose: tells apart the draws of one step, such as "real" and "novel view".

    Returns:
        Float32, on the device of ``keys``.
    """
    draws = np.empty((len(keys), *shape), np.float32)
    for row, key in zip(draws, numbers_of(keys), strict=True):
        numpy_generator(seed, step, key, purpose, "noise").standard_normal(dtype=np.float32, out=row)
    return upload(torch.from_numpy(draws), keys.device)
