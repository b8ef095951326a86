"""Random draws that belong to samples (law 3): keyed by what they are for, never by process or time.

A generator is made from (seed, key, purpose). Two workers, a restart and a test that ask for the same triple get the
same numbers; different triples get independent ones.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from raylift.core.device_copies import numbers_of, upload

_MASK_63 = (1 << 63) - 1


def stable_hash(*parts: str | int) -> int:
    """A 63-bit hash that is the same in every process and on every machine (unlike ``hash``)."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") & _MASK_63


def numpy_generator(seed: int, *key: str | int) -> np.random.Generator:
    """NumPy generator for one key, for example ``numpy_generator(seed, epoch, sample_id, "points")``."""
    return np.random.Generator(np.random.Philox(key=stable_hash(seed, *key)))


def keyed_uniforms(keys: Tensor, seed: int, step: int, purpose: str) -> Tensor:
    """One number in [0, 1) per sample, for (seed, step, sample, purpose): the same whichever rank holds the sample.

    Args:
        keys: sample keys (``Batch.keys``), [B].

    Returns:
        [B], float32, on the device of ``keys``.
    """
    return keyed_uniform_rows(keys, seed, step, 1, purpose)[:, 0]


def keyed_uniform_rows(keys: Tensor, seed: int, step: int, count: int, *purpose: str) -> Tensor:
    """``keyed_uniforms`` with ``count`` numbers per sample: [B, N]."""
    draws = [numpy_generator(seed, step, key, *purpose).random(count) for key in numbers_of(keys)]
    return upload(torch.from_numpy(np.array(draws, np.float32).reshape(-1, count)), keys.device)


def torch_generator(seed: int, *key: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Torch generator for one key."""
    return torch.Generator(device=device).manual_seed(stable_hash(seed, *key))
