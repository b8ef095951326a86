"""How precisely numbers are kept: what bfloat16 autocast must not round, and what a CPU may round to zero."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Convert to float32; float64 stays. In bfloat16 a coordinate is rounded to 1/256 of itself, about a pixel."""
    return values if values.dtype == torch.float64 else values.float()


@contextmanager
def flushed_subnormals() -> Iterator[None]:
    """Round float32 results below 1e-38 to zero on this thread and on threads that it starts.

    Gradients of sharp volumes fade into such numbers, and a CPU's convolutions take four times as long over them.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
